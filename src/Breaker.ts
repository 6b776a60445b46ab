/**
 * Circuit breakers as Effect services.
 *
 * A breaker runs calls through a circuit. While the circuit is closed, calls run and are counted. When the trip policy trips,
 * the circuit opens, and calls fail at once with `BreakerOpenError`. After the open time it is half-open and lets probes
 * through: enough successes close it, a failure reopens it.
 *
 * Breakers of one name on one storage share one circuit, in whatever process they are. Each is an instance of it: it decides
 * on its own view, without a request, and agrees with the others in the background.
 *
 * **Gotchas**
 *
 * - Provide a breaker's layer once, where the program starts, and keep it. Each time it is provided it is a new instance, which
 *   knows nothing before its first call has loaded the circuit. Provided per request, it would never open by itself.
 * - The first call of a circuit in a process waits for the fleet's view, and a call that would probe waits for a lease: each at
 *   most 100 ms, and not at all if the storage answers at once or does not answer.
 * - Interruption by the caller is ignored, so put `Effect.timeout` inside a breaker, or use the policy's `timeout`.
 * - Calls that were admitted before a change of state run to their end, and their outcomes do not change the new state.
 * - A breaker keeps the `Clock` of the context in which it is made.
 *
 * **Example** (Guarding a call)
 *
 * ```ts import.meta.vitest
 * import { Effect } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", {
 *   trip: Trip.consecutiveFailures(2),
 *   openFor: "30 seconds"
 * }) {}
 *
 * const charge = Effect.fail("declined").pipe(Payments.wrap)
 *
 * const program = Effect.gen(function*() {
 *   yield* Effect.ignore(charge)
 *   yield* Effect.ignore(charge)
 *   return yield* Effect.flip(charge)
 * }).pipe(
 *   Effect.map((error) => Breaker.isRejection(error) ? `${error.circuit} is open` : error),
 *   Effect.provide(Payments.layer),
 *   Effect.provide(Storage.MemoryStorageLive)
 * )
 *
 * await Effect.runPromise(program) // => "payments is open"
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { UnhandledLogLevel } from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BreakerError, BreakerOpenError, BreakerTimeoutError, BulkheadFullError } from "./BreakerError.ts"
import type { Event, OverrideMode, Snapshot } from "./Event.ts"
import { type AnyClassify, enforcementOf, run } from "./internal/Call.ts"
import { countIn, durationIn, oneOf, refuse } from "./internal/Check.ts"
import { type Act, Circuit } from "./internal/Circuit.ts"
import { prefixOf } from "./internal/CircuitName.ts"
import { makeEntry } from "./internal/fleet/Engine.ts"
import type { Circuits } from "./internal/fleet/Fleet.ts"
import { refuseUnfit } from "./internal/fleet/Membership.ts"
import { randomId } from "./internal/Ids.ts"
import { Keys, type Overflow } from "./internal/Keys.ts"
import { messages } from "./internal/Messages.ts"
import { claim, claimKeys, type Owner } from "./internal/NameRegistry.ts"
import * as ResolvedPolicy from "./internal/ResolvedPolicy.ts"
import { makeShared, type Shared } from "./internal/Shared.ts"
import { testBreaker } from "./internal/TestBreaker.ts"
import type { Classify, Data, HalfOpen, Policy } from "./Policy.ts"
import { TripFromJson, ValidPolicy } from "./Policy.ts"
import { Storage, StorageError, type Why } from "./Storage/Storage.ts"

export * from "./BreakerError.ts"
export { bypass, Enforcement, type EnforcementMode } from "./Enforcement.ts"
export type { Event, FleetSnapshot, OverrideMode, Snapshot, Statistics, WindowSnapshot } from "./Event.ts"
export type { Outcome } from "./Outcome.ts"
export { type Classify, type Consistency, Data, type HalfOpen, type Policy } from "./Policy.ts"

// -----------------------------------------------------------------------------
// which errors can happen
// -----------------------------------------------------------------------------

// A field is present if its key is and its type is more than `undefined`. That is sound for a widened policy, too.
type Field<P, K extends PropertyKey> = P extends unknown ? K extends keyof P ? Exclude<P[K], undefined> : never : never

type TimeoutOf<P> = [Field<P, "timeout"> | Field<Field<P, "halfOpen">, "timeout">] extends [never] ? never
  : BreakerTimeoutError
type BulkheadOf<P> = [Field<P, "maxConcurrent">] extends [never] ? never : BulkheadFullError
type StorageOf<P> = [Exclude<Field<P, "consistency">, "local">] extends [never] ? never
  : "fail" extends Field<P, "onStorageError"> ? StorageError
  : never

// If both are declared and no `StorageError` is possible yet, either of them from config could make it possible.
type Lying<P> = [StorageOf<P>] extends [never]
  ? [Field<P, "consistency">] extends [never] ? never : [Field<P, "onStorageError">] extends [never] ? never
  : "consistency" | "onStorageError"
  : never

/**
 * The fields of a policy that config may set: those it declares, except fields that could add an error to calls.
 *
 * @category models
 * @since 0.1.0
 */
export type Configurable<P> = {
  [K in keyof Data as [Field<P, K>] extends [never] ? never : K extends Lying<P> ? never : K]: K extends "halfOpen"
    ? [Field<Field<P, "halfOpen">, "timeout">] extends [never] ? Omit<HalfOpen, "timeout"> : HalfOpen
    : Data[K]
}

/**
 * The errors that a breaker with this policy adds to a call: `BreakerOpenError`, and each other one only if the policy makes
 * it possible.
 *
 * @category models
 * @since 0.1.0
 */
export type ErrorOf<P> = BreakerOpenError | TimeoutOf<P> | BulkheadOf<P> | StorageOf<P>

/**
 * The services that the policy's `classify` requires.
 *
 * @category models
 * @since 0.1.0
 */
export type ServicesOf<P> = Field<P, "classify"> extends (...args: any) => infer X
  ? X extends Effect.Effect<any, any, infer R> ? R : never
  : never

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * Runs an effect through a breaker. It has one signature and no options, so that `effect.pipe(X.wrap)` infers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wrap<out Err, out Ctx> {
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Err, R | Ctx>
}

/**
 * `Wrap` with options for one call: a `classify` in place of the policy's.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrapWith<out Err, out Ctx> {
  <A, E, R2 = never>(
    options: { readonly classify?: Classify<A, E, R2> | undefined }
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Err, R | R2 | Ctx>
  <A, E, R, R2 = never>(
    self: Effect.Effect<A, E, R>,
    options: { readonly classify?: Classify<A, E, R2> | undefined }
  ): Effect.Effect<A, E | Err, R | R2 | Ctx>
}

/**
 * `WrapWith` for a keyed breaker. A key is a well-formed text of at least one character; any other is a defect of the call.
 *
 * @category models
 * @since 0.1.0
 */
export interface WrapKeyed<out Err, out Ctx> {
  (options: { readonly key: string; readonly classify?: undefined }): Wrap<Err, Ctx>
  <A, E, R2 = never>(
    options: { readonly key: string; readonly classify?: Classify<A, E, R2> | undefined }
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Err, R | R2 | Ctx>
  <A, E, R, R2 = never>(
    self: Effect.Effect<A, E, R>,
    options: { readonly key: string; readonly classify?: Classify<A, E, R2> | undefined }
  ): Effect.Effect<A, E | Err, R | R2 | Ctx>
}

/**
 * An operator's override: its mode, who sets it, why, and for how long (default: until it is cleared).
 *
 * @category models
 * @since 0.1.0
 */
export interface OverrideOptions {
  readonly mode: OverrideMode
  readonly reason: string
  readonly actor: string
  readonly expiresIn?: Duration.Input | undefined
}

/**
 * A breaker of one circuit.
 *
 * - `wrap`, `wrapWith`: run calls through it.
 * - `state`, `snapshot`: read it. Reading changes nothing and takes no permit.
 * - `events`: the events from now on. They cost nothing without a listener. A listener that is more than 1,024 events behind
 *   loses the oldest, and an event `Lost` says how many. The stream does not end by itself.
 * - `override`: sets an operator's override on top of the state, in place of an earlier one. The state beneath stays, its time
 *   running. `clearOverride` clears it.
 * - `forceHalfOpen`: takes probes at once. `reset`: closes, with an empty window and no memory of openings; an override stays.
 *
 * An operator's act holds for the whole fleet. Other instances adopt it after one push or one `syncEvery`, idle ones with their
 * next call, and each publishes it to its own listeners. Calls that are running then do not change the new state.
 *
 * **Gotchas**
 *
 * - An operator's act fails with `StorageError` if the storage does not confirm it within 1 second. Then it has no effect on
 *   this instance. After `Denied` it has no effect anywhere. After `Unavailable` or `Deadline` it may have been committed: read
 *   the state, or repeat the act. On a storage that cannot fence (`NullStorageLive`) an act holds for this breaker alone.
 * - Instances other than the one that cleared an override publish `unknown` as the actor. The storage's history has the actor.
 *
 * @category models
 * @since 0.1.0
 */
export interface Breaker<out Err> {
  readonly circuit: string
  readonly wrap: Wrap<Err, never>
  readonly wrapWith: WrapWith<Err, never>
  readonly state: Effect.Effect<Snapshot["state"]>
  readonly snapshot: Effect.Effect<Snapshot>
  readonly events: Stream.Stream<Event>
  readonly override: (options: OverrideOptions) => Effect.Effect<void, StorageError>
  readonly clearOverride: (options: { readonly actor: string }) => Effect.Effect<void, StorageError>
  readonly forceHalfOpen: Effect.Effect<void, StorageError>
  readonly reset: Effect.Effect<void, StorageError>
}

/**
 * A breaker with one policy and a circuit for each key, made when the key is first used.
 *
 * - `get`, for operators: the breaker of a key's circuit, which is made if there is none. It is valid until the circuit is
 *   evicted. Under `passThrough` with no room it is a detached circuit that sees no calls. Call `get` again instead of keeping it.
 * - `size`: how many circuits there are.
 * - `events`: the events of all circuits.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedBreaker<out Err> {
  readonly name: string
  readonly wrap: WrapKeyed<Err, never>
  readonly get: (key: string) => Breaker<Err>
  readonly size: Effect.Effect<number>
  readonly events: Stream.Stream<Event>
}

/**
 * How many circuits a keyed breaker keeps.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedOptions {
  /** The most circuits at once. Default 10,000. */
  readonly capacity?: number | undefined
  /**
   * This instance forgets a circuit that was not used for this long, but not before its open time, its probes and its override
   * have ended. Default 1 hour. A storage has an idle time of its own.
   */
  readonly idleTimeToLive?: Duration.Input | undefined
  /**
   * How a new key is served when there is no room. `evictIdle` (the default): the least recently used circuit with which nothing
   * would be lost is evicted; if there is none, as `shareOne`. `shareOne`: all keys without a circuit of their own share one.
   * `passThrough`: no circuit, so the call runs unguarded.
   */
  readonly overflow?: Overflow | undefined
}

/**
 * A breaker as a service: the class that `Service` returns, to be extended by yours.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<Self, Name extends string, P extends Policy>
  extends Context.ServiceClass<Self, `effect-breaker/Breaker/${Name}`, Breaker<ErrorOf<P>>>
{
  readonly policy: P
  readonly wrap: Wrap<ErrorOf<P>, Self>
  readonly wrapWith: WrapWith<ErrorOf<P>, Self>
  readonly layer: Layer.Layer<Self, never, Storage | ServicesOf<P>>
  /** The layer with fields of the policy from config: only fields that the policy declares, so that the error type stays true. */
  readonly layerConfig: (
    overrides: Config.Wrap<Configurable<P>>
  ) => Layer.Layer<Self, Config.ConfigError, Storage | ServicesOf<P>>
  /** A layer for tests of code that uses the breaker: without storage and clock, always closed or always open. Default closed. */
  readonly layerTest: (options?: { readonly state?: "Closed" | "Open" | undefined }) => Layer.Layer<Self>
}

/**
 * A keyed breaker as a service: the class that `KeyedService` returns, to be extended by yours.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedServiceClass<Self, Name extends string, P extends Policy>
  extends Context.ServiceClass<Self, `effect-breaker/KeyedBreaker/${Name}`, KeyedBreaker<ErrorOf<P>>>
{
  readonly policy: P
  readonly wrap: WrapKeyed<ErrorOf<P>, Self>
  readonly layer: Layer.Layer<Self, never, Storage | ServicesOf<P>>
}

// -----------------------------------------------------------------------------
// references
// -----------------------------------------------------------------------------

/**
 * Policy fields for every breaker that is made within, where its own policy does not set them. Fields that change error types are
 * left out. Default: none.
 *
 * @category references
 * @since 0.1.0
 */
export const Defaults: Context.Reference<Omit<Data, "timeout" | "maxConcurrent" | "halfOpen" | "onStorageError">> =
  Context
    .Reference("effect-breaker/Breaker/Defaults", { defaultValue: () => ({}) })

/**
 * A digest of a policy's data, 16 hex digits: equal for policies that decide alike, however their durations are written. A
 * `Schedule` and `classify` are not data, so they are left out.
 *
 * @category accessors
 * @since 0.1.0
 */
export const fingerprint: (policy: Policy) => string = ResolvedPolicy.fingerprint

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/** Makes a breaker's circuits, and enters the fleet with them for as long as the scope is open. */
const makeCircuits = <A extends Circuits>(
  name: string,
  policy: Policy,
  circuitsOf: (shared: Shared) => A
): Effect.Effect<A, never, Storage | Scope.Scope> =>
  Effect.gen(function*() {
    const storage = yield* Storage
    const defaults = yield* Defaults
    const scope = yield* Effect.scope
    const context = yield* Effect.context<never>()
    const clock = yield* Clock.Clock
    const instance = yield* randomId
    const whole = { ...defaults, ...ResolvedPolicy.given(policy) }
    const resolved = ResolvedPolicy.resolve(name, whole)
    refuseUnfit(name, resolved, storage)
    // In one step, because a breaker that leaves in between could end the engine of the storage.
    const made = Effect.sync(() => {
      const fleet = makeEntry(storage, clock, context, instance, resolved, ResolvedPolicy.fingerprint(whole))
      const circuits = circuitsOf(makeShared(name, resolved, policy.classify, context, scope, fleet))
      fleet?.enter(circuits)
      return { circuits, leave: fleet?.leave ?? Effect.void }
    })
    return (yield* Effect.acquireRelease(made, ({ leave }) => leave)).circuits
  })

/**
 * Makes a breaker of one circuit, for as long as the scope is open.
 *
 * Throws a `RangeError` at once if the policy is invalid, with each field, its value and the range. Dies with one if the storage
 * cannot serve the policy: a pooled window or `syncEvery` that is longer than its idle time, or `syncEvery` that is longer than a
 * pooled window. Sends no request before the first call.
 *
 * Closing the scope waits until the last reports are acknowledged: at most 1 second, and not at all while the storage does not
 * answer. Later calls are decided by this breaker alone.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const P extends Policy>(
  name: string,
  policy: P
): Effect.Effect<Breaker<ErrorOf<P>>, never, Storage | Scope.Scope | ServicesOf<P>> => {
  ResolvedPolicy.resolve(name, policy)
  const only = (shared: Shared) => {
    const circuit = new Circuit(shared, undefined)
    return { circuit, find: (name: string) => name === circuit.name ? circuit : undefined, all: () => [circuit] }
  }
  return Effect.map(makeCircuits(name, policy, only), ({ circuit }) => breakerOf<ErrorOf<P>>(circuit))
}

/**
 * Makes a keyed breaker, for as long as the scope is open. Circuit names are `name/key`.
 *
 * It throws for an invalid policy, and closes, as `make` does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeKeyed = <const P extends Policy & KeyedOptions>(
  name: string,
  policy: P
): Effect.Effect<KeyedBreaker<ErrorOf<P>>, never, Storage | Scope.Scope | ServicesOf<P>> => {
  const { capacity = 10_000, idleTimeToLive = "1 hour", overflow = "evictIdle" } = policy
  ResolvedPolicy.resolve(name, policy)
  refuse(`Keyed breaker ${JSON.stringify(name)}`, [
    ...countIn("capacity", capacity, 1, 10_000_000),
    ...durationIn("idleTimeToLive", idleTimeToLive, 1, Number.MAX_SAFE_INTEGER),
    ...oneOf("overflow", overflow, ["evictIdle", "shareOne", "passThrough"])
  ])
  const idleMillis = Duration.toMillis(Duration.fromInputUnsafe(idleTimeToLive))
  const keyed = (shared: Shared) => new Keys(shared, capacity, idleMillis, overflow)
  return Effect.map(makeCircuits(name, policy, keyed), (keys): KeyedBreaker<ErrorOf<P>> => ({
    name,
    wrap: dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, { classify, key }: KeyedCall) =>
      Effect.withFiber((fiber) => {
        const enforcement = enforcementOf(fiber)
        const circuit = enforcement === "bypass" ? undefined : keys.get(key)
        return circuit === undefined ? self : run(circuit, self, classify, fiber, enforcement)
      })),
    get: (key) => breakerOf(keys.get(key) ?? new Circuit(keys.shared, key)),
    size: Effect.sync(() => keys.size),
    events: keys.shared.hub.events
  }))
}

interface KeyedCall {
  readonly key: string
  readonly classify?: AnyClassify | undefined
}

/** The circuit of a breaker of this module, so that a service's `wrap` goes straight to it. */
const circuitKey: unique symbol = Symbol("effect-breaker/Breaker/circuit")
interface HasCircuit {
  readonly [circuitKey]: Circuit
}

const breakerOf = <Err>(circuit: Circuit): Breaker<Err> & HasCircuit => {
  const { hub, ticker } = circuit.shared
  const breaker: Breaker<Err> = {
    circuit: circuit.name,
    wrap: (self) => Effect.withFiber((fiber) => run(circuit, self, undefined, fiber)),
    wrapWith: dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, { classify }: { readonly classify?: AnyClassify | undefined }) =>
        Effect.withFiber((fiber) => run(circuit, self, classify, fiber))
    ),
    state: Effect.sync(() => circuit.state),
    snapshot: Effect.sync(() => circuit.snapshot(ticker.exact())),
    events: circuit.key === undefined
      ? hub.events
      : Stream.filter(hub.events, (event) => event._tag === "Lost" || event.circuit === circuit.name),
    override: ({ actor, expiresIn, mode, reason }) => {
      if (expiresIn !== undefined) {
        refuse("override", durationIn("expiresIn", expiresIn, 1, Number.MAX_SAFE_INTEGER))
      }
      const remaining = expiresIn === undefined ? undefined : Duration.toMillis(Duration.fromInputUnsafe(expiresIn))
      return operate(circuit, { _tag: "Override", kind: mode, reason, actor, remaining }, { reason, actor })
    },
    clearOverride: ({ actor }) => operate(circuit, { _tag: "ClearOverride" }, { reason: "override cleared", actor }),
    forceHalfOpen: operate(circuit, { _tag: "HalfOpen" }, { reason: "forced half-open" }),
    reset: operate(circuit, { _tag: "Reset" }, { reason: "reset" })
  }
  // Not enumerable: a breaker that is spread into another one, with a `wrap` of its own, must not keep it.
  return Object.defineProperty(breaker, circuitKey, { value: circuit }) as Breaker<Err> & HasCircuit
}

/** An operator's act: on the whole fleet, or on this circuit where there is none. */
const operate = (circuit: Circuit, act: Act, why: Why): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    const { fleet, ticker } = circuit.shared
    if (fleet === undefined) return Effect.sync(() => circuit.operate(act, why, ticker.exact()))
    const member = circuit.join()
    return member !== undefined && !fleet.hasLeft()
      ? member.operate(act, why)
      : Effect.fail(
        new StorageError({
          operation: "change",
          circuit: circuit.name,
          reason: "Unavailable",
          cause: "the breaker's scope has closed"
        })
      )
  })

// -----------------------------------------------------------------------------
// services
// -----------------------------------------------------------------------------

/**
 * A breaker as a service class.
 *
 * The class is the key of the service in the context: `yield* Payments` is the breaker, `Payments.wrap` runs a call through
 * it, `Payments.layer` provides it. Two services with one name on one storage are a defect that names both, when the second
 * layer is built. A module that is evaluated again (hot reload) makes a second class of the same name: that works, and is logged.
 *
 * @category services
 * @since 0.1.0
 */
export const Service = <Self>() =>
<const Name extends string, const P extends Policy>(
  name: Name,
  policy: P
): ServiceClass<Self, Name, P> => {
  ResolvedPolicy.resolve(name, policy)
  const Key = Context.Service<Self, Breaker<ErrorOf<P>>>()(`effect-breaker/Breaker/${name}`)
  const layerOf = (owner: Owner, policy: P) => Layer.effect(Key, Effect.andThen(claim(name, owner), make(name, policy)))
  class BreakerService extends Key {
    static readonly policy = policy
    static readonly wrap = wrapThrough(Key)
    static readonly wrapWith = dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, options: { readonly classify?: AnyClassify | undefined }) =>
        Effect.flatMap(Key, (breaker) => breaker.wrapWith(self, options))
    )
    static get layer() {
      return once(this, "layer", layerOf({ identity: this, title: this.name }, policy))
    }
    static layerConfig(overrides: Config.Wrap<Partial<Policy>>) {
      const owner = { identity: this, title: this.name }
      const merged = Config.map(Config.unwrap(overrides), (given): P => ResolvedPolicy.merge(policy, given))
      return Layer.unwrap(Effect.map(configured(merged), (policy) => layerOf(owner, policy)))
    }
    static readonly layerTest = (options?: { readonly state?: "Closed" | "Open" | undefined }) =>
      Layer.sync(Key, () => testBreaker(name, policy, options?.state ?? "Closed"))
  }
  return BreakerService as any
}

/**
 * A keyed breaker as a service class: `Service`, with a circuit for each key.
 *
 * @category services
 * @since 0.1.0
 */
export const KeyedService = <Self>() =>
<const Name extends string, const P extends Policy & KeyedOptions>(
  name: Name,
  policy: P
): KeyedServiceClass<Self, Name, P> => {
  const made = makeKeyed(name, policy)
  const Key = Context.Service<Self, KeyedBreaker<ErrorOf<P>>>()(`effect-breaker/KeyedBreaker/${name}`)
  class KeyedBreakerService extends Key {
    static readonly policy = policy
    static readonly wrap = dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, options: KeyedCall) =>
        Effect.withFiber((fiber) => Context.getUnsafe(fiber.context, Key).wrap(self, options))
    )
    static get layer() {
      return once(
        this,
        "layer",
        Layer.effect(Key, Effect.andThen(claimKeys(prefixOf(name), { identity: this, title: this.name }), made))
      )
    }
  }
  return KeyedBreakerService as any
}

/** Keeps the value of a getter on the class it was read from, because layers are memoised by identity. */
const once = <A>(target: object, key: string, value: A): A => {
  Object.defineProperty(target, key, { value })
  return value
}

/**
 * The default breaker of a context, for programs that need only one.
 *
 * @category services
 * @since 0.1.0
 */
export const Breaker: Context.Service<Breaker<BreakerError>, Breaker<BreakerError>> = Context.Service<
  Breaker<BreakerError>
>("effect-breaker/Breaker")

/**
 * Provides the default breaker. Keep one such layer for a process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const P extends Policy & { readonly onStorageError?: "allow" | undefined }>(
  name: string,
  policy: P
): Layer.Layer<Breaker<BreakerError>, never, Storage | ServicesOf<P>> => {
  const made = make(name, policy) as Effect.Effect<Breaker<BreakerError>, never, Storage | Scope.Scope | ServicesOf<P>>
  return Layer.effect(Breaker, Effect.andThen(claim(name, defaultOwner(name)), made))
}

/**
 * Provides the default breaker with its policy from config. An invalid value is a `ConfigError` that names the field, the value
 * and the range.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  name: string,
  policy: Config.Wrap<Data>
): Layer.Layer<Breaker<BreakerError>, Config.ConfigError, Storage> =>
  Layer.effect(
    Breaker,
    Effect.gen(function*() {
      yield* claim(name, defaultOwner(name))
      const data = yield* configured(Config.unwrap<Data>(policy))
      return (yield* make(name, data)) as Breaker<BreakerError>
    })
  )

const defaultOwner = (name: string): Owner => ({ identity: Breaker, title: `Breaker.layer(${JSON.stringify(name)})` })

/**
 * Runs an effect through the default breaker.
 *
 * @category combinators
 * @since 0.1.0
 */
export const wrap: Wrap<BreakerError, Breaker<BreakerError>> = wrapThrough(Breaker)

function wrapThrough<Self, Err>(key: Context.Service<Self, Breaker<Err>>): Wrap<Err, Self> {
  return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Err, R | Self> =>
    Effect.withFiber((fiber) => {
      const breaker: Breaker<Err> & Partial<HasCircuit> = Context.getUnsafe(fiber.context, key)
      const circuit = breaker[circuitKey]
      // A test's double has none, though it may answer for any property.
      return circuit instanceof Circuit ? run(circuit, self, undefined, fiber) : breaker.wrap(self)
    })
}

// -----------------------------------------------------------------------------
// config
// -----------------------------------------------------------------------------

/**
 * A policy from config, each field optional, under a prefix: for `PAYMENTS`, in environment variables, `PAYMENTS_OPEN_FOR`,
 * `PAYMENTS_MAX_OPEN_FOR`, `PAYMENTS_TIMEOUT`, `PAYMENTS_MAX_CONCURRENT`, `PAYMENTS_HALF_OPEN_PROBES`, `…_SUCCESSES`,
 * `…_LEASE`, `…_TIMEOUT`, `…_RAMP`, and `PAYMENTS_TRIP`, a trip policy as JSON. An invalid value is a `ConfigError` that names
 * the field, the value and the range.
 *
 * **Example** (From an environment)
 *
 * ```ts import.meta.vitest
 * import { ConfigProvider, Duration, Effect } from "effect"
 * import { Breaker } from "effect-breaker"
 *
 * const provider = ConfigProvider.fromEnvRecord({ PAYMENTS_OPEN_FOR: "10 seconds", PAYMENTS_MAX_CONCURRENT: "5" })
 * const program = Effect.provideService(Breaker.config("PAYMENTS"), ConfigProvider.ConfigProvider, provider)
 *
 * const policy = await Effect.runPromise(program)
 * policy.openFor // => Duration.seconds(10)
 * policy.maxConcurrent // => 5
 * ```
 *
 * @category config
 * @since 0.1.0
 */
export const config = (prefix: string): Config.Config<Data> => {
  const optional = <A>(config: Config.Config<A>) => Config.map(Config.option(config), Option.getOrUndefined)
  return configured(Config.nested(
    Config.all({
      trip: optional(Config.schema(Schema.fromJsonString(TripFromJson), "TRIP")),
      openFor: optional(Config.Duration("OPEN_FOR")),
      maxOpenFor: optional(Config.Duration("MAX_OPEN_FOR")),
      timeout: optional(Config.Duration("TIMEOUT")),
      maxConcurrent: optional(Config.Finite("MAX_CONCURRENT")),
      halfOpen: Config.all({
        probes: optional(Config.Finite("HALF_OPEN_PROBES")),
        successes: optional(Config.Finite("HALF_OPEN_SUCCESSES")),
        lease: optional(Config.Duration("HALF_OPEN_LEASE")),
        timeout: optional(Config.Duration("HALF_OPEN_TIMEOUT")),
        ramp: optional(Config.Duration("HALF_OPEN_RAMP"))
      })
    }),
    prefix
  ))
}

/** The config, which fails if its policy is invalid. */
const configured = <P extends Policy>(config: Config.Config<P>): Config.Config<P> =>
  Config.flatMap(config, (policy) => {
    const checked = Schema.decodeUnknownResult(ValidPolicy)(policy)
    return Result.isSuccess(checked) ? Config.succeed(policy) : Config.fail(checked.failure)
  })

// -----------------------------------------------------------------------------
// hooks
// -----------------------------------------------------------------------------

/**
 * A layer that runs an effect for each event of a breaker, in order, one at a time, in a fiber of its own, from the time the layer
 * is built until its scope closes. A failure or defect of the effect is logged at `References.UnhandledLogLevel`, and the next
 * event is taken. It can neither fail nor slow a call.
 *
 * @category layers
 * @since 0.1.0
 */
export const onEvent = <Self, Shape extends { readonly events: Stream.Stream<Event> }, E, R>(
  service: Context.Service<Self, Shape>,
  f: (event: Event) => Effect.Effect<unknown, E, R>
): Layer.Layer<never, never, Self | R> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const { events } = yield* service
    yield* events.pipe(
      Stream.runForEach((event) =>
        Effect.suspend(() => f(event)).pipe(
          Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.void : unheard(cause))
        )
      ),
      Effect.forkScoped({ startImmediately: true })
    )
  })) as Layer.Layer<never, never, Self | R>

const unheard = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.flatMap(
    UnhandledLogLevel,
    (level) => level === undefined ? Effect.void : Effect.logWithLevel(level)(messages.listenerFailed.text, cause)
  )
