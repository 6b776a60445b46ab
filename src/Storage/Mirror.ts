/**
 * A storage with copies of it in others: the first decides, all others get the same reports and changes, and one of
 * them decides while the first does not answer.
 *
 * **Details**
 *
 * A mirror is a chain of storages, with all that is said of `Fallback`. Beyond that
 *
 * - Reports go to all storages at once, so that a copy which takes over has the evidence and the counts. Calls do not
 *   wait for it.
 * - Changes are decided by one storage, because two would give a change two generations. The others get it under its
 *   generation.
 * - A copy that missed changes or reports gets them when it answers again, with each call counted once.
 * - All circuits are compared when the process starts, and then every `repairEvery`. The newer generation wins, in both
 *   directions.
 *
 * **Gotchas**
 *
 * - Leases belong to one storage: while a copy takes over, one probe more than the policy allows may run.
 * - Copies are written in the background, so the last changes before the first storage fails may be missing in a copy.
 *   An instance that knows of such a change puts it back.
 * - A copy counts calls from the time on when it became one. Reports that a process could not send before it ended are
 *   lost.
 *
 * **Example** (Postgres, with a Redis that can take over)
 *
 * ```ts
 * import { PostgresStorageLive } from "effect-breaker/layers/PostgresStorageLive"
 * import { RedisStorageLive } from "effect-breaker/layers/RedisStorageLive"
 * import * as MirrorStorage from "effect-breaker/Storage/Mirror"
 *
 * const StorageLive = MirrorStorage.layer([{ storage: PostgresStorageLive }, { storage: RedisStorageLive }], {
 *   repairEvery: "10 minutes"
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Stream } from "effect/Stream"
import type { ChainEvent } from "../combine/chain/Events.ts"
import { chainOf, type Hops, layerOf, type Options as ChainOptions } from "../combine/Options.ts"
import { durationIn, refuse, YEAR_MILLIS } from "../internal/Check.ts"
import { backgroundSleep } from "../internal/Clock.ts"
import { makeLogUntilClosed } from "../internal/Log.ts"
import { messages } from "../internal/Messages.ts"
import type { Storage, StorageError } from "./Storage.ts"

export type { ChainEvent } from "../combine/chain/Events.ts"
export type { Hop } from "../combine/Options.ts"

/**
 * The options of a mirror.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options extends ChainOptions {
  /** The time between two comparisons of all circuits, from a second to a year. Default 10 minutes. */
  readonly repairEvery?: Duration.Input | undefined
}

/**
 * A storage with copies, with events and an explicit repair.
 *
 * @category models
 * @since 0.1.0
 */
export interface MirrorStorage extends Storage {
  /** Events between its storages, from the time of the subscription on. */
  readonly events: Stream<ChainEvent>
  /**
   * Compares all circuits now and brings the older of each up to date. Fails if one of the storages does not answer.
   */
  readonly repair: Effect.Effect<void, StorageError>
}

const kind = { kind: "mirror", areReportsCopied: true }

const checked = ({ repairEvery = "10 minutes" }: Options): Duration.Input => {
  refuse("Storage \"mirror\"", durationIn("repairEvery", repairEvery, 1000, YEAR_MILLIS))
  return repairEvery
}

/**
 * Makes a storage with copies, for as long as the scope is open. The first storage decides. Throws a `RangeError` for
 * times out of range.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  hops: Hops<Storage>,
  options: Options = {}
): Effect.Effect<MirrorStorage, never, Scope.Scope> => {
  const every = checked(options)
  const made = chainOf(kind, hops, options)
  return Effect.gen(function*() {
    const log = yield* makeLogUntilClosed
    const chain = yield* made
    const repaired = Effect.catchCause(chain.repair, (cause) =>
      Effect.sync(() => {
        if (!Cause.hasInterruptsOnly(cause)) {
          log(messages.comparisonFailed, { cause: Cause.squash(cause) })
        }
      }))
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(repaired, backgroundSleep(every))))
    return chain
  })
}

/**
 * The same as a layer, of layers. Fails with the errors of the layers, and needs their services.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const H extends Hops>(
  hops: H,
  options: Options = {}
): Layer.Layer<Storage, Layer.Error<H[number]["storage"]>, Layer.Services<H[number]["storage"]>> => {
  checked(options)
  return layerOf(kind, hops, options, make)
}
