import * as Cockatiel from "cockatiel"
import type { Spec } from "../cases.ts"
import type { Contender } from "./contender.ts"

const make = ({ failures, trip }: Spec) =>
  Cockatiel.circuitBreaker(Cockatiel.handleAll, {
    halfOpenAfter: 3_600_000,
    breaker: trip === "consecutive"
      ? new Cockatiel.ConsecutiveBreaker(failures)
      : new Cockatiel.SamplingBreaker({ threshold: 0.5, duration: 60_000, minimumRps: 1 / 3 })
  })

export const cockatiel: Contender = {
  single: async (spec, { fn }) => {
    const breaker = make(spec)
    // Aggressive: its cooperative strategy only signals, and a call that does not listen never times out.
    const policy = spec.timeout === undefined
      ? breaker
      : Cockatiel.wrap(breaker, Cockatiel.timeout(spec.timeout, Cockatiel.TimeoutStrategy.Aggressive))
    return {
      bare: fn,
      call: () => policy.execute(fn),
      isOpen: async () => breaker.state === Cockatiel.CircuitState.Open
    }
  },
  // It has no keyed breaker; a map of one's own would come on top.
  hold: async (spec, { fn }, keys) => {
    const breakers = keys.map(() => make(spec))
    for (const breaker of breakers) await breaker.execute(fn)
    return breakers
  }
}
