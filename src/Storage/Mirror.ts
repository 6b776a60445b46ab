/**
 * A storage with copies of it in others: the first decides, the others are told all that it is told, and one of them decides
 * while it does not answer.
 *
 * **Details**
 *
 * It is a chain of storages (`Fallback`), and all that is said there holds. Beyond that
 *
 * - reports go to all of them at once, so that who takes over has the evidence and the counts, too. Nobody waits for a copy.
 * - changes are decided by one, or they would have two generations, and then put into the others under its generation.
 * - a copy that missed something is told of it when it answers: what has changed, and each call that it has not counted, once.
 * - all circuits are compared when the process begins, and then every `repairEvery`. The newer generation wins, whichever of them
 *   has it.
 *
 * **Gotchas**
 *
 * - Leases are of one storage: while a copy takes over, a probe more may run than the policy says.
 * - A copy is not waited for, so what was told in the moment before the first storage dies may be missing in it. Whoever knows
 *   of it puts it back.
 * - A copy counts calls from when it is one, and a process that ends takes along what it could not tell it.
 *
 * **Example** (Postgres, and a Redis that can take over)
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
import { durationIn, refuse } from "../internal/Check.ts"
import { makeLog } from "../internal/Log.ts"
import { messages } from "../internal/Messages.ts"
import type { Storage, StorageError } from "./Storage.ts"

export type { ChainEvent } from "../combine/chain/Events.ts"
export type { Hop } from "../combine/Options.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends ChainOptions {
  /** How often all circuits are compared, from a second to a year. Default 10 minutes. */
  readonly repairEvery?: Duration.Input | undefined
}

/**
 * A storage with copies that can be listened to and looked after.
 *
 * @category models
 * @since 0.1.0
 */
export interface MirrorStorage extends Storage {
  /** What happens between its storages, from when it is listened to. */
  readonly events: Stream<ChainEvent>
  /** Compares all circuits now and brings the older of each up to date; fails where one of the storages does. */
  readonly repair: Effect.Effect<void, StorageError>
}

const kind = { kind: "mirror", areReportsCopied: true }

const LONGEST = 365 * 24 * 60 * 60 * 1000

const checked = ({ repairEvery = "10 minutes" }: Options): Duration.Input => {
  refuse("Storage \"mirror\"", durationIn("repairEvery", repairEvery, 1000, LONGEST))
  return repairEvery
}

/**
 * Makes a storage with copies, for as long as the scope is open. The first of them decides. Throws a `RangeError` for times
 * that make no sense.
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
    const log = makeLog(yield* Effect.context<never>())
    const chain = yield* made
    const repaired = Effect.catchCause(chain.repair, (cause) =>
      Effect.sync(() => {
        if (!Cause.hasInterruptsOnly(cause)) {
          log(messages.comparisonFailed, { cause: Cause.squash(cause) })
        }
      }))
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(repaired, Effect.sleep(every))))
    return chain
  })
}

/**
 * The same as a layer, of layers. Fails and needs what they fail with and need.
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
