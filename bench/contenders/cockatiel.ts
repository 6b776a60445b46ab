import * as Cockatiel from "cockatiel"
import { Effect } from "effect"
import type { Spec } from "../cases.ts"
import { type Contender, subjectOf } from "./contender.ts"

const make = ({ failures, trip }: Spec) =>
  Cockatiel.circuitBreaker(Cockatiel.handleAll, {
    halfOpenAfter: 3_600_000,
    breaker: trip === "consecutive"
      ? new Cockatiel.ConsecutiveBreaker(failures)
      : new Cockatiel.SamplingBreaker({ threshold: 0.5, duration: 60_000, minimumRps: 1 / 3 })
  })

const isOpen = (breaker: Cockatiel.CircuitBreakerPolicy) => async () => breaker.state === Cockatiel.CircuitState.Open

/** On bare promises. */
export const cockatiel: Contender = {
  single: async (spec, { fn }) => {
    const breaker = make(spec)
    // Aggressive, because the cooperative strategy only signals: a call that ignores the signal never times out.
    const policy = spec.timeoutMillis === undefined
      ? breaker
      : Cockatiel.wrap(breaker, Cockatiel.timeout(spec.timeoutMillis, Cockatiel.TimeoutStrategy.Aggressive))
    return {
      bare: fn,
      call: () => policy.execute(fn),
      wait: (answer) => policy.execute(() => answer),
      isOpen: isOpen(breaker)
    }
  },
  // It has no keyed breaker. A map of one's own would add to these bytes.
  hold: async (spec, { fn }, keys) => {
    const breakers = keys.map(() => make(spec))
    for (const breaker of breakers) await breaker.execute(fn)
    return breakers
  }
}

/**
 * Called from an Effect program, in the cheapest way that works: it passes on neither interruption, nor the context,
 * nor the type of the error. The timeout is Effect's, because it costs less than cockatiel's and interrupts the call.
 */
export const cockatielEffect: Contender = {
  single: async (spec, workload) => {
    const breaker = make(spec)
    const { timeoutMillis } = spec
    const wrap = timeoutMillis === undefined
      ? (call: Effect.Effect<number, Error>) => Effect.tryPromise(() => breaker.execute(() => Effect.runPromise(call)))
      : (call: Effect.Effect<number, Error>) =>
        Effect.tryPromise(() => breaker.execute(() => Effect.runPromise(Effect.timeout(call, timeoutMillis))))
    return subjectOf(workload, wrap, Effect.runPromise, isOpen(breaker))
  },
  hold: async (spec, { effect }, keys) => {
    const breakers = keys.map(() => make(spec))
    for (const breaker of breakers) {
      await Effect.runPromise(Effect.tryPromise(() => breaker.execute(() => Effect.runPromise(effect))))
    }
    return breakers
  }
}
