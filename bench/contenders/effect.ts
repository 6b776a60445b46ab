import { Effect, Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import type { Spec } from "../cases.ts"
import { build, type Contender, forever, freshName } from "./contender.ts"

// Its `rate` counts calls, not seconds: it has no window of time to compare. `size` is its default.
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

/** Effect's own, over its memory store. */
export const effectOwn: Contender = {
  single: async (spec, { effect }) => {
    const breaker = await make(spec)
    const options = { key: freshName() }
    const { timeout } = spec
    return {
      bare: () => run(effect),
      call: timeout === undefined
        ? () => run(breaker.execute(effect, options))
        : () => run(breaker.execute(Effect.timeout(effect, timeout), options)),
      isOpen: () => stateOf(breaker, options.key)
    }
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
