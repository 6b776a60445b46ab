/**
 * A storage made of several in an order: the first that answers decides, so that an outage of one storage does not
 * reach the breakers.
 *
 * **Details**
 *
 * - A storage that does not answer in time, fails with `Unavailable` or `Denied`, or dies is away: the next one is sent
 *   the request. `Invalid` is an answer about one circuit, and so is `Denied` to an operator's act.
 * - Each storage has its own deadline, and circuit breakers: after three failures in a row it is skipped for a second,
 *   then for two, up to thirty, and one probe decides when it is used again. So a storage that is down costs its
 *   deadline a few times, and then nothing. Looks and writes are counted apart: a storage whose disk is full or
 *   read-only still answers looks.
 * - Changes of the first storage are copied in the background to those behind it that are durable. An open circuit
 *   stays open when the first storage fails.
 * - When a better storage answers again, the changes of the others are brought back to it, circuit by circuit, before
 *   it decides on that circuit. Circuits that no call uses follow in the background. The newer generation wins, an open
 *   circuit is not replaced by a closed one before its time is up, and calls that only the others have counted are
 *   counted there, too.
 * - A fallback shows in the log, in `events`, and in the counter `circuit_breaker.persistence.fallbacks` with the
 *   attributes `from`, `to` and `reason` (of the error, or `Skipped`).
 * - It has the capabilities of the first storage. They hold while that one answers. It has bells only if all of its storages have
 *   that can decide, and they hold whichever of them answers.
 *
 * **Gotchas**
 *
 * - Instances on different storages are different fleets: each opens and probes by itself. That is so while some of
 *   them cannot reach the first storage, and on storages that are not shared, such as files of one host.
 * - With memory as the last storage, circuits keep the state that their process has seen. With null as the last
 *   storage, a breaker fails open: an open circuit, even one that an operator has forced open, lets calls through while
 *   all others are skipped. Until then null answers looks and reports, and no change and no probe.
 * - Without either, breakers see an unavailable storage, and each decides alone. No call fails because
 *   of it, unless its policy says so (`onStorageError: "fail"`).
 * - Changes of a process that dies during an outage stay in the storage where they were written. They are brought back
 *   when another process of that host uses the circuits before the first storage answers again.
 *
 * **Example** (Redis, with the state of the host during an outage)
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
 * A storage with events.
 *
 * @category models
 * @since 0.1.0
 */
export interface FallbackStorage extends Storage {
  /** Events between its storages, from the time of the subscription on. */
  readonly events: Stream<ChainEvent>
}

const kind = { kind: "fallback", areReportsCopied: false }

/**
 * Makes a storage of several, for as long as the scope is open. Throws a `RangeError` for deadlines out of range, and
 * for those that together exceed the budget.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  hops: Hops<Storage>,
  options: Options = {}
): Effect.Effect<FallbackStorage, never, Scope.Scope> => chainOf(kind, hops, options)

/**
 * The same as a layer, of layers. Fails with the errors of the layers, and needs their services.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const H extends Hops>(
  hops: H,
  options: Options = {}
): Layer.Layer<Storage, Layer.Error<H[number]["storage"]>, Layer.Services<H[number]["storage"]>> =>
  layerOf(kind, hops, options, make)
