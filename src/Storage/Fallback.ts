/**
 * A storage made of several in an order: the first that answers decides, so that an outage of one is none of the breakers'.
 *
 * **Details**
 *
 * - Each storage has a deadline of its own, and is guarded by the machine that guards calls: after three failures in a row it is
 *   asked nothing for a second, then two, up to thirty, but for one request by which it shows that it is back. So a sick one
 *   costs its deadline a few times, and then nothing.
 * - What the first comes to is copied to those behind it that are durable, as it changes and without anybody waiting. A
 *   circuit that was open stays open for who finds the first one gone.
 * - When a better storage is back, what the others came to meanwhile is carried to it, circuit by circuit, before it decides on
 *   any of them again, and all that nobody calls in the background. The newer generation wins, and an open circuit is not
 *   replaced by a closed one before its time is up: nothing is overwritten. Calls that only others have counted, it counts too.
 * - Falling back shows in the log, as `events`, and in the counter `circuit_breaker.persistence.fallbacks` with the attributes
 *   `from`, `to` and `reason` (of the error, or `Skipped`).
 * - It can what the first one can. What is said of it holds while that one answers.
 *
 * **Gotchas**
 *
 * - Instances that are on different storages are different fleets: each opens, and probes, by itself. That is so while a part
 *   of them cannot reach the first one, and on storages that are not shared, such as a file for each host.
 * - Ending in memory, circuits stay as each process knew them. Ending in null is failing open: a circuit that was open, also by
 *   an operator's word, lets calls through once nothing but null answers.
 * - Without either, breakers are told that their storage is away, and each decides alone on what it knows. No call fails for
 *   it, unless its policy says so (`onStorageError: "fail"`).
 * - A process that dies during an outage leaves what it wrote where it wrote it. It is carried when one of its host uses the
 *   same circuits before the first storage is back.
 *
 * **Example** (Redis, and what the host knows while there is none)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Breaker, Storage } from "effect-breaker"
 * import { RedisStorageLive } from "effect-breaker/layers/RedisStorageLive"
 * import * as SqliteStorage from "effect-breaker/layers/SqliteStorageLive"
 *
 * const StorageLive = Storage.fallback([
 *   { storage: RedisStorageLive, deadline: "50 millis" },
 *   { storage: SqliteStorage.layer({ file: ".circuit_breaker/circuits.sqlite" }) },
 *   { storage: Storage.MemoryStorageLive }
 * ])
 *
 * const program = Breaker.wrap(Effect.succeed("paid")).pipe(
 *   Effect.provide(Breaker.layer("payments", { timeout: "2 seconds" })),
 *   Effect.provide(StorageLive)
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Stream } from "effect/Stream"
import type { ChainEvent } from "../combine/chain/Events.ts"
import { chainOf, type Hops, layerOf, type Options } from "../combine/Options.ts"
import type { Storage } from "./Storage.ts"

export type { ChainEvent } from "../combine/chain/Events.ts"
export type { Hop, Options } from "../combine/Options.ts"

/**
 * A storage that can be listened to.
 *
 * @category models
 * @since 0.1.0
 */
export interface FallbackStorage extends Storage {
  /** What happens between its storages, from when it is listened to. */
  readonly events: Stream<ChainEvent>
}

const kind = { kind: "fallback", areReportsCopied: false }

/**
 * Makes a storage of several, for as long as the scope is open. Throws a `RangeError` for deadlines that make no sense: those
 * that are given must fit into the budget.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  hops: Hops<Storage>,
  options: Options = {}
): Effect.Effect<FallbackStorage, never, Scope.Scope> => chainOf(kind, hops, options)

/**
 * The same as a layer, of layers. Fails and needs what they fail with and need.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const H extends Hops>(
  hops: H,
  options: Options = {}
): Layer.Layer<Storage, Layer.Error<H[number]["storage"]>, Layer.Services<H[number]["storage"]>> =>
  layerOf(kind, hops, options, make)
