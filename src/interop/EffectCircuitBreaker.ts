/**
 * Effect's own circuit breaker (`effect/persistence/CircuitBreaker`) and this library's, both ways.
 *
 * - `layer` and `make`: one of our keyed breakers as Effect's `CircuitBreaker` service. `HttpClient.withCircuitBreaker`, and libraries
 *   written for Effect's breaker, work unchanged, on circuits that are decided locally and shared by the fleet.
 * - `layerStore`: one of our storages as the store of Effect's breakers. They ask it before and after each call, as they ask every store.
 * - `guard`: one circuit of Effect's breaker where one of ours goes, such as in a comparison of the two.
 *
 * `docs/effects-own-breaker.md` says when to use which, and how the two differ.
 *
 * **Example** (Effect's HTTP middleware on our circuits)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { HttpClient, HttpClientResponse } from "effect/http"
 * import { CircuitBreaker } from "effect/persistence"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 * import * as EffectCircuitBreaker from "effect-breaker/interop/EffectCircuitBreaker"
 *
 * class Origins extends Breaker.KeyedService<Origins>()("origins", { trip: Trip.consecutiveFailures(1) }) {}
 *
 * const sick = HttpClient.make((request) =>
 *   Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 503 })))
 * )
 *
 * const program = Effect.gen(function*() {
 *   const breaker = yield* CircuitBreaker.CircuitBreaker
 *   const client = sick.pipe(HttpClient.withCircuitBreaker({ breaker }))
 *   yield* client.get("https://api.test/users")
 *   return yield* Effect.flip(client.get("https://api.test/users"))
 * }).pipe(
 *   Effect.map((error) => error._tag === "CircuitBreakerError" && error.reason._tag),
 *   Effect.provide(EffectCircuitBreaker.layer(Origins)),
 *   Effect.provide(Origins.layer),
 *   Effect.provide(Storage.MemoryStorageLive)
 * )
 *
 * await Effect.runPromise(program) // => "CircuitOpen"
 * ```
 *
 * **Example** (Effect's breaker on one of our storages)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { CircuitBreaker } from "effect/persistence"
 * import { Storage } from "effect-breaker"
 * import * as EffectCircuitBreaker from "effect-breaker/interop/EffectCircuitBreaker"
 *
 * const BreakerLive = CircuitBreaker.layer({ tripPolicy: CircuitBreaker.consecutive(1), openDuration: "30 seconds" }).pipe(
 *   Layer.provide(EffectCircuitBreaker.layerStore()),
 *   Layer.provide(Storage.MemoryStorageLive)
 * )
 *
 * const program = Effect.gen(function*() {
 *   const breaker = yield* CircuitBreaker.CircuitBreaker
 *   yield* Effect.ignore(breaker.execute(Effect.fail("unavailable"), { key: "payments" }))
 *   return yield* breaker.state("payments")
 * }).pipe(Effect.map(({ _tag }) => _tag), Effect.provide(BreakerLive))
 *
 * await Effect.runPromise(program) // => "Open"
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Stream from "effect/Stream"
import type { KeyedBreaker } from "../Breaker.ts"
import type { BreakerOpenError } from "../BreakerError.ts"
import type { Guard } from "../Guard.ts"
import { durationIn, lineIn, refuse, YEAR_MILLIS } from "../internal/Check.ts"
import * as Outcome from "../Outcome.ts"
import { isStorageError, type Storage, type StorageError } from "../Storage/Storage.ts"
import { halfOpenError, openError, storeError } from "./internal/EffectErrors.ts"
import { guardOf } from "./internal/EffectGuard.ts"
import { keyFor } from "./internal/EffectKeys.ts"
import { makeStore } from "./internal/EffectStore.ts"
import { stateOf, transitionsOf } from "./internal/EffectTransitions.ts"

// -----------------------------------------------------------------------------
// our circuits for Effect's interface
// -----------------------------------------------------------------------------

/**
 * Provides a keyed breaker as Effect's `CircuitBreaker`.
 *
 * **Details**
 *
 * - A rejection is a `CircuitBreakerError`. Its reason is `CircuitHalfOpen` where the circuit is half-open, and else `CircuitOpen`. The
 *   `retryAfter` of `CircuitOpen` is zero where nobody knows when the circuit takes calls again, as under an override without an end.
 * - The `StorageError` of a breaker with `onStorageError: "fail"` is a `CircuitBreakerStoreError`.
 * - A `classify` of the call decides its outcome. Without one the policy's does, or `Outcome.fromExit`.
 * - `state` is what this process knows of the circuit. An operator's `ForcedOpen` reads as `Open`; under the other overrides, which
 *   reject nothing, it reads as `Closed`.
 * - `transitions` are the changes as this process learns of them, those that other processes made among them. An override is shown
 *   as opened and closed. Where a circuit skips a state, as when an operator closes an open one, the missing transition is put in between.
 *   The stream ends with the layer.
 *
 * **Gotchas**
 *
 * - Its error type has no place for timeouts and bulkheads, so a breaker with either does not compile. Put `Effect.timeout` inside.
 * - Effect's interface takes any key. The empty one is stored as `~`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self>(
  breaker:
    | Context.Service<Self, KeyedBreaker<BreakerOpenError | StorageError>>
    | Context.Service<Self, KeyedBreaker<BreakerOpenError>>
): Layer.Layer<CircuitBreaker.CircuitBreaker, never, Self> =>
  Layer.effect(
    CircuitBreaker.CircuitBreaker,
    Effect.gen(function*() {
      const keyed: KeyedBreaker<BreakerOpenError | StorageError> = yield* breaker as Context.Service<
        Self,
        KeyedBreaker<BreakerOpenError | StorageError>
      >
      const ended = yield* Deferred.make<void>()
      yield* Effect.addFinalizer(() => Deferred.succeed(ended, undefined))
      const made = make(keyed)
      return { ...made, transitions: Stream.interruptWhen(made.transitions, Deferred.await(ended)) }
    })
  )

/**
 * A keyed breaker as Effect's `CircuitBreaker`. As `layer`, but `transitions` does not end by itself.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (breaker: KeyedBreaker<BreakerOpenError | StorageError>): CircuitBreaker.CircuitBreaker => ({
  [CircuitBreaker.TypeId]: CircuitBreaker.TypeId,
  execute: dual(
    2,
    <A, E, R, R2>(self: Effect.Effect<A, E, R>, options: ExecuteOptions<A, E, R2>) => execute(breaker, self, options)
  ),
  state: (key) =>
    Effect.map(Effect.suspend(() => breaker.get(keyFor(key)).snapshot), (snapshot) => stateOf(key, snapshot)),
  transitions: transitionsOf(breaker)
})

interface ExecuteOptions<A, E, R2> {
  readonly key: string
  readonly classify?:
    | ((exit: Exit.Exit<A, E>) => CircuitBreaker.Outcome | Effect.Effect<CircuitBreaker.Outcome, never, R2>)
    | undefined
}

const execute = <A, E, R, R2>(
  breaker: KeyedBreaker<BreakerOpenError | StorageError>,
  self: Effect.Effect<A, E, R>,
  { classify, key }: ExecuteOptions<A, E, R2>
): Effect.Effect<A, E | CircuitBreaker.CircuitBreakerError, R | R2> =>
  Effect.suspend(() => {
    // The call may fail with errors like ours, of a breaker inside of it. Those of this one come before it runs.
    let isRun = false
    let classifyFailure: Cause.Cause<never> | undefined
    const call = Effect.suspend(() => {
      isRun = true
      return self
    })
    const classified = classify && ((exit: Exit.Exit<A, E>) =>
      Effect.catchCause(
        Effect.suspend(() => {
          const outcome = classify(exit)
          return Effect.isEffect(outcome) ? outcome : Effect.succeed(outcome)
        }),
        (cause) => {
          classifyFailure = cause
          return Effect.succeed(Outcome.ignored)
        }
      ))
    return Effect.matchCauseEffect(breaker.wrap(call, { key: keyFor(key), classify: classified }), {
      onFailure: (cause): Effect.Effect<never, E | CircuitBreaker.CircuitBreakerError> => {
        const ofCall = cause as Cause.Cause<E>
        if (isRun) return Effect.failCause(classifyFailure ? Cause.combine(ofCall, classifyFailure) : ofCall)
        const error = Cause.findErrorOption(cause)
        return error._tag === "None" ? Effect.failCause(ofCall) : Effect.fail(errorFor(key, error.value))
      },
      onSuccess: (value) => classifyFailure ? Effect.failCause(classifyFailure) : Effect.succeed(value)
    })
  })

/** The error of a call that was not run. */
const errorFor = (key: string, error: unknown): CircuitBreaker.CircuitBreakerError => {
  if (isStorageError(error)) return storeError(error)
  const { retryAfter, state } = error as BreakerOpenError
  return state === "HalfOpen" ? halfOpenError(key) : openError(key, retryAfter)
}

/**
 * A breaker of Effect's as a guard of one circuit, that of `key`. It goes wherever one of ours goes, such as `Compare.compare`.
 *
 * **Gotchas**
 *
 * - Effect's breaker does not tell whether a call is a probe, so `probe` of a permit is always `false`.
 * - The outcome of a call is that of `classify`, or of `Outcome.fromExit`, by which an error can say that it does not count.
 *
 * @category constructors
 * @since 0.1.0
 */
export const guard = (
  breaker: CircuitBreaker.CircuitBreaker,
  options: { readonly key: string }
): Guard<CircuitBreaker.CircuitBreakerError, never> => guardOf(breaker, options.key)

// -----------------------------------------------------------------------------
// our storages for Effect's breakers
// -----------------------------------------------------------------------------

/**
 * Options of `layerStore`.
 *
 * @category models
 * @since 0.1.0
 */
export interface StoreOptions {
  /** A circuit is named this and the key. Default `circuitbreaker:`, as in Effect's store on Redis. */
  readonly prefix?: string | undefined
  /** How long a probe holds its place if its process dies. From 1 ms to a year, default 10 seconds. It is renewed while the probe runs. */
  readonly probeLease?: Duration.Input | undefined
  /** For how long it is renewed, so that a probe that hangs loses its place. From 1 ms to a year, default 5 minutes. */
  readonly maxLease?: Duration.Input | undefined
}

/**
 * Provides one of our storages as the store of Effect's breakers. Its circuits are like those of our breakers for operators: overrides
 * apply to them, and they are listed, exported and have a history.
 *
 * **Details**
 *
 * - A call costs two requests, one before and one after it, as with Effect's store on Redis. What waits for one circuit in a process
 *   shares a request. A request fails after 1 second.
 * - Times are of the storage's clock. How long an idle circuit is kept is the storage's option, too.
 * - The streak of `CircuitBreaker.consecutive` is the fleet's, in the order of the reports. The last calls of `CircuitBreaker.rate` are
 *   kept by each process, and hold those of others in the order in which it learns of them. They have no more of others than the
 *   storage counts over the last ten hours.
 * - A probe whose lease has lapsed decides nothing, even if no other has begun.
 * - Under `ForcedOpen` calls are rejected, under `Disabled` they run unrecorded, and under `MetricsOnly` they run, and a trip is in the
 *   history without an opening.
 * - The statistics of the record get rejections, ignored calls and probes with the next outcome that counts.
 *
 * **Gotchas**
 *
 * - Do not let a breaker of ours use the same circuit.
 * - On a storage that cannot fence (`NullStorageLive`) no circuit opens.
 * - An open time is at most 2^50 ms.
 *
 * Options out of range are a `RangeError` that the layer dies with.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStore = (
  options: StoreOptions = {}
): Layer.Layer<CircuitBreaker.CircuitBreakerStore, never, Storage> => {
  const { maxLease = "5 minutes", prefix = "circuitbreaker:", probeLease = "10 seconds" } = options
  const millisOf = (input: Duration.Input): number => Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(input)))
  return Layer.effect(
    CircuitBreaker.CircuitBreakerStore,
    Effect.suspend(() => {
      refuse("EffectCircuitBreaker.layerStore", [
        ...prefix === "" ? [] : lineIn("prefix", prefix, 200),
        ...durationIn("probeLease", probeLease, 1, YEAR_MILLIS),
        ...durationIn("maxLease", maxLease, 1, YEAR_MILLIS)
      ])
      return makeStore({ prefix, leaseMillis: millisOf(probeLease), maxLeaseMillis: millisOf(maxLease) })
    })
  )
}
