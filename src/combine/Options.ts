/** Options of `Fallback` and `Mirror`, their validation, and the layer constructor that they share. */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { durationIn, type Problem, refuse } from "../internal/Check.ts"
import { Storage } from "../Storage/Storage.ts"
import { type Chain, type ChainOptions, makeChain } from "./Chain.ts"
import type { ChainEvent } from "./chain/Events.ts"

/**
 * One storage of a chain: a layer, or a storage that is made already.
 *
 * @category models
 * @since 0.1.0
 */
export interface Hop<out S = Layer.Layer<Storage, any, any>> {
  readonly storage: S
  /**
   * The longest duration of a request to this storage, from a millisecond to the whole budget. Default: an equal share,
   * with the storages behind it, of the time that is left.
   */
  readonly deadline?: Duration.Input | undefined
}

/**
 * The deadlines of a chain of storages, and who hears of its events.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The longest duration of a request, all storages together, from a millisecond to an hour. Default 900 ms, because a
   * breaker waits for one second.
   */
  readonly budget?: Duration.Input | undefined
  /** Called for each event. A slow callback misses all but the last 256 events. Its errors are logged. */
  readonly onEvent?: ((event: ChainEvent) => Effect.Effect<unknown, unknown>) | undefined
}

export type Hops<S = Layer.Layer<Storage, any, any>> = readonly [Hop<S>, ...Array<Hop<S>>]

const LONGEST_MILLIS = 60 * 60 * 1000

const budgetOf = ({ budget = "900 millis" }: Options): Duration.Input => budget

const problemsOf = (hops: ReadonlyArray<Hop<unknown>>, budget: Duration.Input): ReadonlyArray<Problem> => {
  const found = [
    ...(hops.length === 0 ? [{ field: "hops", value: hops, range: "at least one storage" }] : []),
    ...durationIn("budget", budget, 1, LONGEST_MILLIS)
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

type Kind = Pick<ChainOptions, "kind" | "areReportsCopied">

/** Throws a `RangeError` for deadlines out of range. */
export const chainOf = (
  kind: Kind,
  hops: Hops<Storage>,
  options: Options
): Effect.Effect<Chain, never, Scope.Scope> => {
  const budget = budgetOf(options)
  refuse(`Storage ${JSON.stringify(kind.kind)}`, problemsOf(hops, budget))
  const links = hops.map(({ deadline, storage }) => ({
    storage,
    deadlineMillis: deadline === undefined ? undefined : Duration.toMillis(deadline)
  }))
  const { onEvent } = options
  return Effect.tap(
    makeChain({ ...kind, links, budgetMillis: Duration.toMillis(budget) }),
    ({ events }) => onEvent === undefined ? Effect.void : listen(events, onEvent)
  )
}

/** Calls `onEvent` for each event until the scope closes. */
export const listen = <A>(events: Stream.Stream<A>, onEvent: (event: A) => Effect.Effect<unknown, unknown>) =>
  Effect.forkScoped(
    Stream.runForEach(events, (event) => Effect.ignore(onEvent(event), { log: "Unhandled" })),
    { startImmediately: true }
  )

/** The storage of a layer. */
export const built = <E, R>(layer: Layer.Layer<Storage, E, R>): Effect.Effect<Storage, E, R | Scope.Scope> =>
  Effect.map(Layer.build(layer), Context.get(Storage))

/** A layer of layers. Throws a `RangeError` for deadlines out of range before any of them is built. */
export const layerOf = <const H extends Hops, O extends Options>(
  kind: Kind,
  hops: H,
  options: O,
  make: (hops: Hops<Storage>, options: O) => Effect.Effect<Storage, never, Scope.Scope>
): Layer.Layer<Storage, Layer.Error<H[number]["storage"]>, Layer.Services<H[number]["storage"]>> => {
  refuse(`Storage ${JSON.stringify(kind.kind)}`, problemsOf(hops, budgetOf(options)))
  const all = Effect.forEach(
    hops,
    ({ deadline, storage }) => Effect.map(built(storage), (storage) => ({ storage, deadline }))
  )
  return Layer.effect(Storage, Effect.flatMap(all, ([first, ...rest]) => make([first!, ...rest], options)))
}
