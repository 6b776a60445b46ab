import { Effect, Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import type { Spec } from "../cases.ts"
import { build, type Contender, forever, freshName, subjectOf } from "./contender.ts"

// Its `rate` is over the last calls, because it has no time window. `size` is its default.
const tripPolicy = ({ failures, trip }: Spec) =>
  trip === "consecutive"
    ? CircuitBreaker.consecutive(failures === Infinity ? Number.MAX_SAFE_INTEGER : failures)
    : CircuitBreaker.rate({ threshold: 0.5, size: 100, minimumCalls: 20 })

const store = await build(CircuitBreaker.layerStoreMemory())
const run = Effect.runPromiseWith(store)

const make = (spec: Spec) =>
  run(
    CircuitBreaker.make({ tripPolicy: tripPolicy(spec), openDuration: "1 hour" }).pipe(
      Effect.provideService(Scope.Scope, forever)
    )
  )

const stateOf = async (breaker: CircuitBreaker.CircuitBreaker, key: string) =>
  (await run(breaker.state(key)))._tag === "Open"

/** Effect's own breaker on its memory store. */
export const effectOwn: Contender = {
  single: async (spec, workload) => {
    const breaker = await make(spec)
    const options = { key: freshName() }
    const { timeoutMillis } = spec
    const wrap = timeoutMillis === undefined
      ? (call: Effect.Effect<number, Error>) => breaker.execute(call, options)
      : (call: Effect.Effect<number, Error>) => breaker.execute(Effect.timeout(call, timeoutMillis), options)
    return subjectOf(workload, wrap, run, () => stateOf(breaker, options.key))
  },
  keyed: async (spec, { effect }, _capacity, next) => {
    const breaker = await make(spec)
    return {
      bare: () => {
        next()
        return run(effect)
      },
      call: () => run(breaker.execute(effect, { key: next() })),
      isOpen: () => stateOf(breaker, next())
    }
  },
  hold: async (spec, { effect }, keys) => {
    const breaker = await make(spec)
    for (const key of keys) await run(breaker.execute(effect, { key }))
    return breaker
  }
}
