/** The phases of a migration, and what its operators get to see. */
import * as Schema from "effect/Schema"
import type { Snapshot } from "../../Storage/Storage.ts"

export const PHASES = [
  "read-old-write-both",
  "read-both-write-both",
  "read-new-write-both",
  "read-new-write-new"
] as const

/**
 * Which storages are read and written.
 *
 * @category models
 * @since 0.1.0
 */
export type Phase = typeof PHASES[number]

export const isPhase = (text: string | undefined): text is Phase => PHASES.includes(text as Phase)

/**
 * The phase was not switched: `NotNext`, because the new phase does not border on the current one; `Incomplete`,
 * because some circuits could not be carried to the other storage.
 *
 * @category errors
 * @since 0.1.0
 */
export class MigrationError
  extends Schema.TaggedError<MigrationError>("effect-breaker/Storage/MigrationError")("MigrationError", {
    reason: Schema.Literals(["NotNext", "Incomplete"]),
    from: Schema.Literals(PHASES),
    to: Schema.Literals(PHASES),
    /** The circuits that could not be carried. */
    circuits: Schema.Array(Schema.String)
  })
{
  override get message(): string {
    const { length } = this.circuits
    return `Cannot switch from ${this.from} to ${this.to}: ${
      this.reason === "NotNext"
        ? "phases change one step at a time"
        : `${length} ${length === 1 ? "circuit" : "circuits"} could not be carried, switch again`
    }`
  }
}

/**
 * The progress of a backfill.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  /** Circuits that were compared. */
  readonly circuits: number
  /** Circuits that were brought up to date in the storage that is filled. */
  readonly carried: number
  /** Circuits of which the storage that is filled had the newer state. */
  readonly newer: number
  /**
   * Circuits of which the storage that is filled has still counted fewer calls, because reports are under way to it or
   * another instance is making up for them.
   */
  readonly short: number
  /** Circuits that could not be carried. */
  readonly failed: ReadonlyArray<string>
}

/**
 * A circuit that is not the same in both storages.
 *
 * @category models
 * @since 0.1.0
 */
export interface Difference {
  readonly circuit: string
  readonly what: ReadonlyArray<"generation" | "state" | "override" | "counts">
  readonly from: Snapshot
  readonly to: Snapshot
}

/**
 * A comparison of the circuits of both storages.
 *
 * @category models
 * @since 0.1.0
 */
export interface Comparison {
  readonly circuits: number
  readonly differences: ReadonlyArray<Difference>
  /** Circuits that could not be read from one of the storages. */
  readonly failed: ReadonlyArray<string>
}
