/** Effect's breakers on our storages, and our breakers as Effect's, as subjects of the laws. */
import { Context, Effect, Layer, type Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { Breaker, Trip } from "../../src/index.ts"
import * as EffectCircuitBreaker from "../../src/interop/EffectCircuitBreaker.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import type { Subject as BreakerSubject } from "./laws/breaker.ts"
import type { Time } from "./laws/law.ts"
import type { Subject } from "./laws/store.ts"

/** A prefix that no other test uses. */
const freshPrefix = (): string => `${Math.random().toString(36).slice(2)}:`

/** Stores of several processes on one storage. */
export const subjectOn = (
  time: Time,
  storage: Effect.Effect<Storage, unknown, Scope.Scope>
): Effect.Effect<Subject, unknown, Scope.Scope> =>
  Effect.map(storage, (storage) => {
    const prefix = freshPrefix()
    return {
      ...time,
      store: ({ maxLeaseMillis, probeLeaseMillis } = {}) =>
        EffectCircuitBreaker.layerStore({ prefix, maxLease: maxLeaseMillis, probeLease: probeLeaseMillis }).pipe(
          Layer.provide(Layer.succeed(Storage, storage)),
          Layer.build,
          Effect.map(Context.get(CircuitBreaker.CircuitBreakerStore))
        )
    }
  })

/** Effect's breakers on a store. */
export const onStore = <E>(
  time: Time,
  store: Layer.Layer<CircuitBreaker.CircuitBreakerStore, E>
): BreakerSubject => ({
  ...time,
  make: (options) =>
    Effect.flatMap(
      Layer.build(Layer.fresh(store)),
      (context) => Effect.provideContext(CircuitBreaker.make(options), context)
    )
})

/** Our keyed breakers as Effect's, on a storage. */
export const ours = (
  time: Time,
  storage: Effect.Effect<Storage, unknown, Scope.Scope>
): Effect.Effect<BreakerSubject, unknown, Scope.Scope> =>
  Effect.map(storage, (storage) => ({
    ...time,
    make: ({ maxOpenDuration = "1 hour", openDuration, tripPolicy }) =>
      Effect.map(
        Breaker.makeKeyed(freshPrefix(), {
          trip: tripOf(tripPolicy),
          openFor: openDuration,
          maxOpenFor: maxOpenDuration,
          // What one process sees opens at once for all, as with a store that is asked for every call.
          evidence: "any"
        }).pipe(Effect.provideService(Storage, storage)),
        EffectCircuitBreaker.make
      )
  }))

const tripOf = (policy: CircuitBreaker.TripPolicy) =>
  policy._tag === "Consecutive"
    ? Trip.consecutiveFailures(policy.failures)
    : Trip.failureRate({ threshold: policy.threshold, lastCalls: policy.size, minimumCalls: policy.minimumCalls })
