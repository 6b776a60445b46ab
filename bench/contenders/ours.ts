import { Effect, Layer, Scope } from "effect"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import type { Spec } from "../cases.ts"
import { build, type Contender, forever, freshName } from "./contender.ts"

export const policy = ({ failures, timeout, trip }: Spec): Breaker.Policy<never> => ({
  trip: trip === "consecutive"
    ? Trip.consecutiveFailures(failures === Infinity ? 1_000_000_000 : failures)
    : Trip.failureRate({ threshold: 0.5, within: "60 seconds", minimumCalls: 20 }),
  openFor: "1 hour",
  ...(timeout === undefined ? {} : { timeout })
})

const storage = await build(Storage.MemoryStorageLive)
const run = Effect.runPromiseWith(storage)
export const inScope = <A, E, R>(effect: Effect.Effect<A, E, R | Scope.Scope>) =>
  Effect.provideService(effect, Scope.Scope, forever)

const isOpen = (breaker: Pick<Breaker.Breaker<unknown>, "state">) => async () => await run(breaker.state) === "Open"

/** A breaker in hand. */
export const ours: Contender = {
  single: async (spec, { effect }) => {
    const breaker = await run(inScope(Breaker.make(freshName(), policy(spec))))
    return { bare: () => run(effect), call: () => run(breaker.wrap(effect)), isOpen: isOpen(breaker) }
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

/** A breaker that each call looks up in its context. */
export const oursService: Contender = {
  single: async (spec, { effect }) => {
    class Payments extends Breaker.Service<Payments>()(freshName(), policy(spec)) {}
    const context = await build(Payments.layer.pipe(Layer.provide(Storage.MemoryStorageLive)))
    const run = Effect.runPromiseWith(context)
    const breaker = await run(Payments)
    return { bare: () => run(effect), call: () => run(Payments.wrap(effect)), isOpen: isOpen(breaker) }
  }
}
