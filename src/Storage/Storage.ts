/**
 * The storage that breakers keep their circuits in, as a service: every breaker needs one, so that changing where circuits
 * live is changing one layer, and a program without one does not compile.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"

/**
 * A storage could not do what it was asked.
 *
 * - `Unavailable`: it could not be reached. `Deadline`: it did not answer in time. `Invalid`: what it holds or answered makes
 *   no sense. `Denied`: it refused.
 *
 * @category errors
 * @since 0.1.0
 */
export class StorageError
  extends Schema.TaggedError<StorageError>("effect-breaker/Storage/StorageError")("StorageError", {
    operation: Schema.String,
    circuit: Schema.optionalKey(Schema.String),
    reason: Schema.Literals(["Unavailable", "Deadline", "Invalid", "Denied"]),
    cause: Schema.Defect()
  })
{
  override get message(): string {
    return `Storage ${this.reason.toLowerCase()} on ${this.operation}`
  }
}

/**
 * A place for circuits. `MemoryStorageLive` is the process's own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Storage {
  /** What it is, for people: `memory`, `null`. */
  readonly backend: string
}

/**
 * @category services
 * @since 0.1.0
 */
export const Storage: Context.Service<Storage, Storage> = Context.Service<Storage>("effect-breaker/Storage/Storage")
