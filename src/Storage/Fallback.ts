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
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Chain, type ChainEvent, makeChain } from "../combine/Chain.ts"
import { durationIn, type Problem, refuse } from "../internal/Check.ts"
import { Storage } from "./Storage.ts"

export type { ChainEvent } from "../combine/Chain.ts"

/**
 * A storage of a chain, as a layer or made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hop<out S = Layer.Layer<Storage, any, any>> {
  readonly storage: S
  /**
   * How long a request to it may take, from a millisecond to the whole budget. Default: an equal share, with those behind it,
   * of what is left.
   */
  readonly deadline?: Duration.Input | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** How long a request may take in all, from a millisecond on. Default 900 ms: a breaker waits for one second. */
  readonly budget?: Duration.Input | undefined
  /** Told of each event. One that is slow hears of the last 256; what it fails with is logged. */
  readonly onEvent?: ((event: ChainEvent) => Effect.Effect<unknown, unknown>) | undefined
}

/**
 * A storage that can be listened to.
 *
 * @category models
 * @since 0.1.0
 */
export interface FallbackStorage extends Storage {
  /** What happens between its storages, from when it is listened to. */
  readonly events: Stream.Stream<ChainEvent>
}

const LONGEST = 60 * 60 * 1000

const problemsOf = (hops: ReadonlyArray<Hop<unknown>>, budget: Duration.Input): ReadonlyArray<Problem> => {
  const found = [
    ...(hops.length === 0 ? [{ field: "hops", value: hops, range: "at least one storage" }] : []),
    ...durationIn("budget", budget, 1, LONGEST)
  ]
  if (found.length > 0) return found
  const most = Duration.toMillis(budget)
  const wrong = hops.flatMap(({ deadline }, i) =>
    deadline === undefined ? [] : durationIn(`hops[${i}].deadline`, deadline, 1, most)
  )
  if (wrong.length > 0) return wrong
  const sum = hops.reduce((sum, { deadline = 0 }) => sum + Duration.toMillis(deadline), 0)
  return sum > most ? [{ field: "the deadlines' sum", value: sum, range: `at most the budget, ${most} ms` }] : []
}

/**
 * Makes a storage of several, for as long as the scope is open. Throws a `RangeError` for deadlines that make no sense: those
 * that are given must fit into the budget.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  hops: readonly [Hop<Storage>, ...Array<Hop<Storage>>],
  { budget = "900 millis", onEvent }: Options = {}
): Effect.Effect<FallbackStorage, never, Scope.Scope> => {
  refuse("Storage \"fallback\"", problemsOf(hops, budget))
  return Effect.tap(
    makeChain({
      kind: "fallback",
      links: hops.map(({ deadline, storage }) => ({
        storage,
        deadline: deadline === undefined ? undefined : Duration.toMillis(deadline)
      })),
      budget: Duration.toMillis(budget),
      reports: false
    }),
    (chain) => onEvent === undefined ? Effect.void : listen(chain, onEvent)
  )
}

const listen = (chain: Chain, onEvent: NonNullable<Options["onEvent"]>) =>
  Effect.forkScoped(
    Stream.runForEach(chain.events, (event) => Effect.ignore(onEvent(event), { log: "Unhandled" })),
    { startImmediately: true }
  )

/**
 * The same as a layer, of layers. Fails and needs what they fail with and need.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const Hops extends readonly [Hop, ...Array<Hop>]>(
  hops: Hops,
  options: Options = {}
): Layer.Layer<Storage, Layer.Error<Hops[number]["storage"]>, Layer.Services<Hops[number]["storage"]>> => {
  refuse("Storage \"fallback\"", problemsOf(hops, options.budget ?? "900 millis"))
  const built = Effect.forEach(
    hops,
    ({ deadline, storage }) =>
      Effect.map(Layer.build(storage), (context) => ({ storage: Context.get(context, Storage), deadline }))
  )
  return Layer.effect(Storage, Effect.flatMap(built, ([first, ...rest]) => make([first!, ...rest], options)))
}
