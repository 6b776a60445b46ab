import { type Context, Effect, Layer, Scope } from "effect"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import * as BreakerMetrics from "../../src/observability/BreakerMetrics.ts"
import type { Spec } from "../cases.ts"
import { build, type Contender, forever, freshName, subjectOf } from "./contender.ts"

const policyOf = ({ failures, timeoutMillis, trip }: Spec): Breaker.Policy<never> => ({
  trip: trip === "consecutive"
    ? Trip.consecutiveFailures(failures === Infinity ? 1_000_000_000 : failures)
    : Trip.failureRate({ threshold: 0.5, within: "60 seconds", minimumCalls: 20 }),
  openFor: "1 hour",
  ...(timeoutMillis === undefined ? {} : { timeout: timeoutMillis })
})

const inScope = <A, E, R>(effect: Effect.Effect<A, E, R | Scope.Scope>) =>
  Effect.provideService(effect, Scope.Scope, forever)

/** A breaker in hand, on a given storage. `more` are fields of its policy besides the spec's. */
export const inHand = (storage: Context.Context<Storage.Storage>, more: Breaker.Data = {}): Contender => {
  const policy = (spec: Spec) => ({ ...policyOf(spec), ...more })
  const run = Effect.runPromiseWith(storage)
  const isOpen = (breaker: Pick<Breaker.Breaker<unknown>, "state">) => async () => await run(breaker.state) === "Open"
  return {
    single: async (spec, workload) => {
      const breaker = await run(inScope(Breaker.make(freshName(), policy(spec))))
      return subjectOf(workload, breaker.wrap, run, isOpen(breaker))
    },
    keyed: async (spec, { effect }, capacity, next) => {
      const breaker = await run(inScope(Breaker.makeKeyed(freshName(), { ...policy(spec), capacity })))
      return {
        bare: () => {
          next()
          return run(effect)
        },
        call: () => run(breaker.wrap(effect, { key: next() })),
        isOpen: () => isOpen(breaker.get(next()))()
      }
    },
    hold: async (spec, { effect }, keys) => {
      const breaker = await run(inScope(Breaker.makeKeyed(freshName(), { ...policy(spec), capacity: keys.length })))
      for (const key of keys) await run(breaker.wrap(effect, { key }))
      return breaker
    }
  }
}

/** A breaker that each call looks up in its context, on a given storage. */
export const byService = (storage: Context.Context<Storage.Storage>): Contender => ({
  single: async (spec, workload) => {
    class Payments extends Breaker.Service<Payments>()(freshName(), policyOf(spec)) {}
    const context = await build(Payments.layer.pipe(Layer.provide(Layer.succeedContext(storage))))
    const run = Effect.runPromiseWith(context)
    const breaker = await run(Payments)
    return subjectOf(workload, Payments.wrap, run, async () => await run(breaker.state) === "Open")
  }
})

export const memory = () => build(Storage.MemoryStorageLive)

/** Exports the metrics of all breakers of the process, which nobody scrapes. */
export const meter = () => build(BreakerMetrics.layer())
