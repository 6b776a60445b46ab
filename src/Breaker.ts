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
import { dual, identity } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type {
  BreakerError,
  BreakerOpenError,
  BreakerTimeoutError,
  BulkheadFullError,
  PolicyError
} from "./BreakerError.ts"
import { NO_SUCH_CIRCUIT } from "./core/Change.ts"
import { enforcementByDefault, isEnforcementGiven } from "./Enforcement.ts"
import type { Event, OverrideMode, PolicyChange, Snapshot } from "./Event.ts"
import type {
  AwaitError,
  Permit,
  PermitError,
  Wrap,
  WrapKeyed,
  WrapStream,
  WrapStreamKeyed,
  WrapStreamWith,
  WrapWith
} from "./Guard.ts"
import { type AnyClassify, enforcementOf, judged, run, runOf } from "./internal/Call.ts"
import { refuse } from "./internal/Check.ts"
import { type Act, Circuit } from "./internal/Circuit.ts"
import { circuitName, prefixOf } from "./internal/CircuitName.ts"
import { makeEntry } from "./internal/fleet/Engine.ts"
import { unfit } from "./internal/fleet/Membership.ts"
import { guardedStream, type StreamOptions } from "./internal/GuardedStream.ts"
import { randomId } from "./internal/Ids.ts"
import { reportIneffective } from "./internal/Ineffective.ts"
import { judge, judgedBy, type Judges } from "./internal/Judge.ts"
import { Keys } from "./internal/Keys.ts"
import { unhandled } from "./internal/Log.ts"
import { messages } from "./internal/Messages.ts"
import { claim, claimKeys, type Owner } from "./internal/NameRegistry.ts"
import { clearProblems, overrideProblems } from "./internal/OperatorInput.ts"
import { configured, policyFrom } from "./internal/PolicyConfig.ts"
import { PolicyInForce, remember } from "./internal/PolicyInForce.ts"
import type { Overflow } from "./internal/PolicyModel.ts"
import { reconfigure } from "./internal/Reconfigure.ts"
import * as Registered from "./internal/Registered.ts"
import * as ResolvedPolicy from "./internal/ResolvedPolicy.ts"
import { makeShared, type Shared } from "./internal/Shared.ts"
import { type Find, permitFrom } from "./internal/TakenPermit.ts"
import { testBreaker, testKeyedBreaker, type TestKeys } from "./internal/TestBreaker.ts"
import type { TestState } from "./internal/TestState.ts"
import type { Data, HalfOpen, Policy } from "./Policy.ts"
import { Storage, StorageError, type Why } from "./Storage/Storage.ts"

export * from "./BreakerError.ts"
export { bypass, Enforcement, type EnforcementMode } from "./Enforcement.ts"
export {
  type Event,
  type FleetSnapshot,
  type OverrideMode,
  type PolicyChange,
  type Reconfigured,
  Snapshot,
  type Statistics,
  type WindowSnapshot
} from "./Event.ts"
export type {
  AwaitError,
  Guard,
  KeyedGuard,
  Permit,
  PermitError,
  StreamSettles,
  Wrap,
  WrapKeyed,
  WrapStream,
  WrapStreamKeyed,
  WrapStreamWith,
  WrapWith
} from "./Guard.ts"
export type { TestState } from "./internal/TestState.ts"
export type { Outcome } from "./Outcome.ts"
export {
  type Classify,
  type Consistency,
  Data,
  type HalfOpen,
  type Policy,
  type Sample,
  type Throttle
} from "./Policy.ts"

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

// Fields that the policy declares as `undefined`. A whole config (`Config<Data>`) could set them, and at run time a key counts as
// declared, so the type refuses such a config.
type NeverSet<P, K extends PropertyKey> = {
  readonly [
    F in K as P extends unknown ? F extends keyof P ? [Field<P, F>] extends [never] ? F : never : never : never
  ]?: undefined
}

type ConfigurableHalfOpen<P> = [Field<P, "timeout">] extends [never]
  ? Omit<HalfOpen, "timeout"> & NeverSet<P, "timeout">
  : HalfOpen

/**
 * The fields of a policy that config may set: those it declares, except fields that could add an error to calls. A field without
 * a value is declared with `unset`.
 *
 * @category models
 * @since 0.1.0
 */
export type Configurable<P> =
  & {
    [K in keyof Data as [Field<P, K>] extends [never] ? never : K extends Lying<P> ? never : K]: K extends "halfOpen"
      ? ConfigurableHalfOpen<Field<P, "halfOpen">> | undefined
      : Data[K]
  }
  & NeverSet<P, "timeout" | "maxConcurrent">

/**
 * The fields of `KeyedOptions` that config may set: those that the policy declares.
 *
 * @category models
 * @since 0.1.0
 */
export type ConfigurableKeys<P> = {
  [K in keyof KeyedOptions as [Field<P, K>] extends [never] ? never : K]: KeyedOptions[K]
}

/**
 * The fields of a policy that may be changed while the breaker runs: all, except those that could add an error to calls and are
 * not declared. A field without a value is declared with `unset`.
 *
 * @category models
 * @since 0.1.0
 */
export type Reconfigurable<P> =
  & Configurable<P>
  & Omit<Data, "timeout" | "maxConcurrent" | "halfOpen" | "consistency" | "onStorageError">

/**
 * The errors that a breaker with this policy adds to a call: `BreakerOpenError`, and each other one only if the policy makes
 * it possible.
 *
 * @category models
 * @since 0.1.0
 */
export type ErrorOf<P> = Errors<P>["of"]

// The compiler shows a union by the name of its alias, with the whole policy. A property's type has no alias, so that hovers and
// messages show the errors themselves.
interface Errors<P> {
  readonly of: BreakerOpenError | TimeoutOf<P> | BulkheadOf<P> | StorageOf<P>
}

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
 * An operator's override. Anything else is refused at once with a `RangeError` that names the field, the value and the range,
 * before a request is sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface OverrideOptions {
  readonly mode: OverrideMode
  /** Why, on one line of at most 1,000 characters. */
  readonly reason: string
  /** Who sets it, on one line of at most 200 characters. */
  readonly actor: string
  /** For how long, from a millisecond to a year. Default: until it is cleared. */
  readonly expiresIn?: Duration.Input | undefined
}

/**
 * A breaker of one circuit.
 *
 * - `wrap`, `wrapWith`: run calls through it.
 * - `wrapStream`, `wrapStreamWith`: run streams through it.
 * - `permit`: leave to make a call that is not one Effect. `awaitPermit` waits for it instead of failing: a little longer than
 *   `retryAfter` says, spread at random. Of those who wait in one process, one at a time tries.
 * - `state`, `snapshot`: read it. Reading changes nothing and takes no permit.
 * - `events`: the events from now on. They cost nothing without a listener. A listener that is more than 1,024 events behind
 *   loses the oldest, and an event `Lost` says how many. The stream does not end by itself.
 * - `override`: sets an operator's override on top of the state, in place of an earlier one. The state beneath stays, its time
 *   running. `clearOverride` clears it.
 * - `forceHalfOpen`: takes probes at once. `reset`: closes, with an empty window and no memory of openings; an override stays.
 * - `policy`: the policy in force, with what `Defaults`, the class and config gave. Built-in defaults are absent.
 * - `reconfigure`: replaces the fields that are given, those of `halfOpen` one by one, for this instance and at once. A field that is
 *   `undefined` is not given. It returns the fields that differ, and publishes them as the event `Reconfigured`. It fails and changes
 *   nothing where the whole policy makes no sense, or where a field adds an error to calls that was not declared.
 *
 * An operator's act holds for the whole fleet. Other instances adopt it after one push or one `syncEvery`, idle ones with their
 * next call, and each publishes it to its own listeners. Calls that are running then do not change the new state.
 *
 * **Gotchas**
 *
 * - No change of the policy opens or closes a circuit: the state, an open time that runs, overrides, openings, the streak and all counts
 *   stay, and the next outcome is judged by the new policy. A window of `trip` that looks back as far as one before keeps its calls,
 *   any other begins empty. Calls that are running keep the timeout and the places that they were admitted with, so more of them may
 *   run than a smaller `maxConcurrent` says, until they have ended.
 * - A change of the policy holds for this instance only. Others judge by theirs until they are changed, too. The keys of a keyed
 *   breaker have one policy: changing that of one, as `get` returns it, changes it for all.
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
  readonly permit: Effect.Effect<Permit, PermitError<Err>, Scope.Scope>
  readonly awaitPermit: Effect.Effect<Permit, AwaitError<Err>, Scope.Scope>
  readonly wrapStream: WrapStream<Err, never>
  readonly wrapStreamWith: WrapStreamWith<Err, never>
  readonly state: Effect.Effect<Snapshot["state"]>
  readonly snapshot: Effect.Effect<Snapshot>
  readonly events: Stream.Stream<Event>
  readonly override: (options: OverrideOptions) => Effect.Effect<void, StorageError>
  readonly clearOverride: (options: { readonly actor: string }) => Effect.Effect<void, StorageError>
  readonly forceHalfOpen: Effect.Effect<void, StorageError>
  readonly reset: Effect.Effect<void, StorageError>
  readonly policy: Effect.Effect<Policy>
  readonly reconfigure: (change: Data) => Effect.Effect<ReadonlyArray<PolicyChange>, PolicyError>
}

/**
 * A breaker with one policy and a circuit for each key, made when the key is first used.
 *
 * - `permit`, `awaitPermit`, `wrapStream`: those of a breaker, for the circuit of a key.
 * - `get`, for operators: the breaker of a key's circuit, which is made if there is none, also later if it was evicted meanwhile.
 *   Where the key shares a circuit, it is that one: `circuit` says so. Where the key's calls run unguarded (`passThrough`), it is a
 *   circuit outside of the capacity that lives until it has reported what it counted. Its acts (`override` and the others) fail
 *   with `Denied` if nobody uses the circuit: no call of its key was made here, and the storage has no record of it. So a misspelt
 *   key leaves nothing behind. `get(key, { create: true })` acts all the same.
 * - `size`: how many circuits there are, the shared one aside. `entries`: their keys and snapshots. Reading changes nothing.
 * - `events`: the events of all circuits.
 * - `policy`, `reconfigure`: those of a breaker, for all circuits that live and those to come. Of more circuits than a smaller `capacity`,
 *   those that are missed the least are evicted at once. Others, such as open ones, stay until they may be evicted.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedBreaker<out Err> {
  readonly name: string
  readonly wrap: WrapKeyed<Err, never>
  readonly permit: (options: { readonly key: string }) => Effect.Effect<Permit, PermitError<Err>, Scope.Scope>
  readonly awaitPermit: (options: { readonly key: string }) => Effect.Effect<Permit, AwaitError<Err>, Scope.Scope>
  readonly wrapStream: WrapStreamKeyed<Err, never>
  readonly get: (key: string, options?: { readonly create?: boolean | undefined }) => Breaker<Err>
  readonly size: Effect.Effect<number>
  readonly entries: Effect.Effect<ReadonlyArray<KeyedEntry>>
  readonly events: Stream.Stream<Event>
  readonly policy: Effect.Effect<Policy & KeyedOptions>
  readonly reconfigure: (change: Data & KeyedOptions) => Effect.Effect<ReadonlyArray<PolicyChange>, PolicyError>
}

/**
 * A key of a keyed breaker, and its circuit's state at one moment.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedEntry {
  readonly key: string
  readonly snapshot: Snapshot
}

/**
 * How many circuits a keyed breaker keeps.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeyedOptions {
  /**
   * The most circuits at once. Default 10,000. An evicted circuit lives on until its calls have ended and its outcomes are reported,
   * and a key that returns meanwhile gets it back. There are at most `capacity` of these, too; beyond that, while the storage does not
   * answer, the oldest is given up with the outcomes that it has not reported.
   */
  readonly capacity?: number | undefined
  /**
   * This instance forgets a circuit that was not used for this long, but not before its open time, the places of its probes and
   * its override have ended. Default 1 hour. A storage has an idle time of its own.
   */
  readonly idleTimeToLive?: Duration.Input | undefined
  /**
   * How a new key is served when there is no room. `evictIdle` (the default): a circuit is evicted, the least recently used of those
   * with which nothing would be lost; if there is none, the closed one with the fewest failures in memory; then one whose open time is
   * over and to which no call has come. Never one that is open, half-open, recovering, overridden or runs calls. If there is no other,
   * as `shareOne`. `shareOne`: all keys without a circuit of their own share one, which is named `name~overflow`. `passThrough`: no
   * circuit, so the call runs unguarded.
   *
   * The first time that each happens is logged at `Warn` and published as an event `Capacity`. For eviction a new key looks at 64
   * circuits and no further, so that its call is not slower where there are many.
   */
  readonly overflow?: Overflow | undefined
  /**
   * The largest share of the keys whose circuits may be open, of those that were called in the last minute: where many keys fail
   * at once, the fault is more likely with the caller, and some of them have to be called all the same. In [0, 1]; default 1.
   *
   * Beyond it, a circuit that would open stays closed with a new window. A transition from `Closed` to `Closed` is published, and
   * logged at most once a minute for each circuit. It is counted by this instance, for its own circuits and for what it proposes to
   * the fleet. A circuit that another instance has opened is open here, too. With one key in use and a share below 1, its circuit never
   * opens.
   */
  readonly neverOpenMoreThan?: number | undefined
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
  readonly circuit: Name
  readonly policy: P
  readonly wrap: Wrap<ErrorOf<P>, Self>
  readonly wrapWith: WrapWith<ErrorOf<P>, Self>
  readonly permit: Effect.Effect<Permit, PermitError<ErrorOf<P>>, Self | Scope.Scope>
  readonly awaitPermit: Effect.Effect<Permit, AwaitError<ErrorOf<P>>, Self | Scope.Scope>
  readonly wrapStream: WrapStream<ErrorOf<P>, Self>
  readonly wrapStreamWith: WrapStreamWith<ErrorOf<P>, Self>
  /** Changes the policy while the breaker runs, as `Breaker.reconfigure`. */
  readonly reconfigure: (
    change: Reconfigurable<P>
  ) => Effect.Effect<ReadonlyArray<PolicyChange>, PolicyError, Self>
  readonly layer: Layer.Layer<Self, never, Storage | ServicesOf<P>>
  /**
   * The layer with fields of the policy from config. A field that adds an error to calls (`timeout`, `halfOpen.timeout`,
   * `maxConcurrent`, `consistency` with `onStorageError`) can only be set if the policy declares it, so that the error type stays
   * true. From a whole config, such as `Breaker.config`, any other is a `ConfigError` that names it. `unset` declares a field
   * without a value.
   */
  readonly layerConfig: (
    overrides: Config.Wrap<Configurable<P>>
  ) => Layer.Layer<Self, Config.ConfigError, Storage | ServicesOf<P>>
  /**
   * A layer for tests of code that uses the breaker: without storage and clock, in a state that never changes. Default closed. It counts
   * calls as a breaker does, by `classify`, too: `snapshot` has them in `statistics` and `concurrent`. Slow calls, windows and times are
   * left out. A `TestState` that makes no sense is a `RangeError` that names the field.
   *
   * **Gotchas**
   *
   * A `classify` that needs services gets those that are provided to this layer. Without them its calls count as `Ignored`.
   */
  // A method, so that a class of one policy is also one of any `Policy`.
  layerTest(options?: TestState<ErrorOf<P>>): Layer.Layer<Self>
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
  readonly permit: (
    options: { readonly key: string }
  ) => Effect.Effect<Permit, PermitError<ErrorOf<P>>, Self | Scope.Scope>
  readonly awaitPermit: (
    options: { readonly key: string }
  ) => Effect.Effect<Permit, AwaitError<ErrorOf<P>>, Self | Scope.Scope>
  readonly wrapStream: WrapStreamKeyed<ErrorOf<P>, Self>
  readonly entries: Effect.Effect<ReadonlyArray<KeyedEntry>, never, Self>
  /** Changes the policy while the breaker runs, as `KeyedBreaker.reconfigure`. */
  readonly reconfigure: (
    change: Reconfigurable<P> & KeyedOptions
  ) => Effect.Effect<ReadonlyArray<PolicyChange>, PolicyError, Self>
  readonly layer: Layer.Layer<Self, never, Storage | ServicesOf<P>>
  /** The layer with fields of the policy from config, as that of `Service`. `KeyedOptions` that the policy declares can be set, too. */
  readonly layerConfig: (
    overrides: Config.Wrap<Configurable<P> & ConfigurableKeys<P>>
  ) => Layer.Layer<Self, Config.ConfigError, Storage | ServicesOf<P>>
  /**
   * A layer for tests of code that uses the breaker: without storage and clock. The circuits of the keys in `open` are always open, or
   * those of `all` keys. All others are always closed. Default: none is open. `keys` has the state of some keys' circuits, before `open`.
   */
  layerTest(
    options?: {
      readonly open?: ReadonlyArray<string> | "all" | undefined
      readonly keys?: Readonly<Record<string, TestState<ErrorOf<P>>>> | undefined
    }
  ): Layer.Layer<Self>
}

// -----------------------------------------------------------------------------
// references
// -----------------------------------------------------------------------------

/**
 * Policy fields for every breaker that is made within, where its own policy does not set them. Fields that change error types are
 * left out; a breaker whose calls could get an error by them that its type does not have is a defect that names the field.
 * Default: none.
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

/** The parts of a breaker. */
interface Made<A extends Registered.Made["circuits"]> extends Registered.Made {
  readonly circuits: A
  readonly inForce: PolicyInForce
}

/** Makes a breaker's circuits, and enters the fleet with them for as long as the scope is open. */
const makeCircuits = <A extends One | Keys>(
  name: string,
  policy: Policy & KeyedOptions,
  declared: Policy,
  circuitsOf: (shared: Shared) => A,
  isKeyed: boolean
): Effect.Effect<Made<A>, never, Storage | Scope.Scope> =>
  Effect.gen(function*() {
    const storage = yield* Storage
    const defaults = yield* Defaults
    const whole = overDefaults(name, policy, declared, defaults)
    const scope = yield* Effect.scope
    const context = yield* Effect.context<never>()
    const clock = yield* Clock.Clock
    const instance = yield* randomId
    const bypasses = (yield* enforcementByDefault) === "bypass"
    const resolved = ResolvedPolicy.resolve(name, whole, ResolvedPolicy.keyedFields)
    refuse(`Circuit ${JSON.stringify(name)} on storage ${JSON.stringify(storage.backend)}`, unfit(resolved, storage))
    yield* reportIneffective(name, whole, resolved, storage)
    const fingerprint = ResolvedPolicy.fingerprint(whole)
    // In one step, because a breaker that leaves in between could end the engine of the storage.
    const made = Effect.sync(() => {
      const fleet = makeEntry(storage, clock, context, instance, resolved, fingerprint)
      const shared = makeShared(name, resolved, policy.classify, context, scope, instance, fleet)
      const circuits = circuitsOf(shared)
      fleet?.enter(circuits)
      const parts = { storage, fleet, shared, circuits }
      const inForce = new PolicyInForce({
        name,
        isKeyed,
        declared,
        defaults,
        unfit: (resolved) => unfit(resolved, storage),
        apply: (put) => reconfigure(parts, put)
      }, whole)
      return { circuits, inForce, leave: fleet?.leave ?? Effect.void, shared }
    })
    const { circuits, inForce, shared } = yield* Effect.acquireRelease(made, ({ leave }) => leave)
    return { isKeyed, circuits, bypasses, backend: storage.backend, inForce, shared }
  })

/** The circuits of a breaker that has one. */
class One {
  readonly circuit: Circuit
  constructor(shared: Shared) {
    this.circuit = new Circuit(shared, undefined)
  }
  find(name: string): Circuit | undefined {
    return name === this.circuit.name ? this.circuit : undefined
  }
  all(): ReadonlyArray<Circuit> {
    return [this.circuit]
  }
}

/** The policy over `Defaults`, which must not make an error possible that the policy's own type does not have. */
const overDefaults = (name: string, policy: Policy, declared: Policy, defaults: Policy): Policy => {
  const whole = { ...ResolvedPolicy.given(defaults), ...ResolvedPolicy.given(policy) }
  refuse(`Breaker.Defaults of circuit ${JSON.stringify(name)}`, ResolvedPolicy.undeclared(declared, whole))
  return whole
}

/**
 * Makes a breaker of one circuit, for as long as the scope is open. Sends no request before the first call.
 *
 * Throws a `RangeError` at once if the policy is invalid, with each field, its value and the range, or if it has an unknown
 * field, with the known one that is most like it. A name is a well-formed text of at least one character. Names that begin with
 * `__effect_breaker/` are reserved.
 *
 * Dies with a `RangeError` if the storage cannot serve the policy: a pooled window or `syncEvery` that is longer than its idle time,
 * or `syncEvery` that is longer than a pooled window.
 *
 * Closing the scope waits until the last reports are acknowledged: at most 1 second, and not at all while the storage does not
 * answer. Under a test's clock that stands still, that is 1 second of real time. Later calls are decided by this breaker alone.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const P extends Policy>(
  name: string,
  policy: P
): Effect.Effect<Breaker<ErrorOf<P>>, never, Storage | Scope.Scope | ServicesOf<P>> => makeAs(name, policy, policy)

/** Makes a breaker whose error type was made from the policy `declared`. */
const makeAs = <P extends Policy>(
  name: string,
  policy: P,
  declared: Policy
): Effect.Effect<Breaker<ErrorOf<P>>, never, Storage | Scope.Scope | ServicesOf<P>> => {
  ResolvedPolicy.resolve(name, policy)
  return Effect.flatMap(makeCircuits(name, policy, declared, (shared) => new One(shared), false), (made) => {
    const breaker = breakerOf<ErrorOf<P>>(made.circuits.circuit, made)
    remember(breaker, made.inForce)
    return registered(made, breaker, { _tag: "One", breaker }, () => breaker)
  })
}

/** The breaker, in the registry for as long as the scope is open. */
const registered = <A>(
  made: Registered.Made,
  breaker: A,
  of: unknown,
  handle: (circuit: Circuit) => Breaker<unknown>
): Effect.Effect<A, never, Scope.Scope> =>
  Effect.flatMap(
    Registered.CurrentRegistry,
    (registry) => Effect.as(registry.add(Registered.entryOf(made, of, handle)), breaker)
  )

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
): Effect.Effect<KeyedBreaker<ErrorOf<P>>, never, Storage | Scope.Scope | ServicesOf<P>> =>
  makeKeyedAs(name, policy, policy)

/** Makes a keyed breaker whose error type was made from the policy `declared`. */
const makeKeyedAs = <P extends Policy & KeyedOptions>(
  name: string,
  policy: P,
  declared: Policy
): Effect.Effect<KeyedBreaker<ErrorOf<P>>, never, Storage | Scope.Scope | ServicesOf<P>> => {
  refuseKeyed(name, policy)
  const keyed = (shared: Shared) =>
    new Keys(shared, { ...ResolvedPolicy.keyedParts(policy), idleMillis: ResolvedPolicy.idleMillisOf(policy) })
  return Effect.flatMap(makeCircuits(name, policy, declared, keyed, true), (made) => {
    const { bypasses, circuits: keys, inForce } = made
    const run = runOf(made.shared)
    const finding = (key: string): Find => (fiber) => bypasses && !isEnforcementGiven(fiber) ? undefined : keys.get(key)
    const breaker: KeyedBreaker<ErrorOf<P>> = {
      name,
      wrap: dual(
        2,
        <A, E, R>(self: Effect.Effect<A, E, R>, { classify, key }: KeyedCall) =>
          Effect.withFiber((fiber) => {
            const enforcement = enforcementOf(fiber)
            const isBypassed = enforcement === "bypass" || (bypasses && !isEnforcementGiven(fiber))
            const circuit = isBypassed ? undefined : keys.get(key)
            return circuit === undefined ? self : run(circuit, self, classify, fiber, enforcement)
          })
      ),
      permit: ({ key }) => permitFrom(() => circuitName(name, key), finding(key), false),
      awaitPermit: ({ key }) => permitFrom(() => circuitName(name, key), finding(key), true),
      wrapStream: dual(
        2,
        <A, E, R>(self: Stream.Stream<A, E, R>, { key }: KeyedCall) => guardedStream(self, finding(key), {})
      ),
      get: (key, { create = false } = {}) => {
        keys.lookUp(key)
        return handleOf(keys.shared, () => keys.lookUp(key), made, !create)
      },
      size: Effect.sync(() => keys.size),
      entries: Effect.sync(() => {
        const now = keys.shared.ticker.exact()
        return Array.from(keys.kept(), (circuit) => ({ key: circuit.key!, snapshot: circuit.snapshot(now) }))
      }),
      events: keys.shared.hub.events,
      policy: Effect.sync(() => inForce.policy),
      reconfigure: (change) => inForce.reconfigure(change)
    }
    remember(breaker, inForce)
    const keysOf = Effect.sync(() => Array.from(keys.all(), ({ key }) => key!))
    return registered(
      made,
      breaker,
      { _tag: "Keyed", breaker, keys: keysOf },
      (circuit) => breakerOf(circuit, made)
    )
  })
}

const refuseKeyed = (name: string, policy: Policy & KeyedOptions): void => {
  ResolvedPolicy.resolve(name, policy, ResolvedPolicy.keyedFields)
  refuse(`Keyed breaker ${JSON.stringify(name)}`, ResolvedPolicy.keyedProblems(policy))
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

/** The parts of a breaker that its handles need. */
type Parts = Pick<Made<One | Keys>, "bypasses" | "inForce">

const breakerOf = <Err>(circuit: Circuit, parts: Parts): Breaker<Err> & HasCircuit => {
  const { shared } = circuit
  const { bypasses } = parts
  const isStraight = !bypasses && shared.tracing !== "spans"
  const handle: Breaker<Err> = handleOf(shared, () => circuit, parts, false)
  const breaker: Breaker<Err> = {
    ...handle,
    circuit: circuit.name,
    wrap: isStraight ? (self) => Effect.withFiber((fiber) => run(circuit, self, undefined, fiber)) : handle.wrap,
    events: shared.hub.events
  }
  // Without it a service's `wrap` goes by the breaker's own.
  if (!isStraight) return breaker as Breaker<Err> & HasCircuit
  // Not enumerable: a breaker that is spread into another one, with a `wrap` of its own, must not keep it.
  return Object.defineProperty(breaker, circuitKey, { value: circuit }) as Breaker<Err> & HasCircuit
}

/**
 * A breaker whose circuit is looked up for each use, because a key's circuit may be evicted in between. `mustExist`: operators act
 * on the circuit only if somebody uses it.
 */
const handleOf = <Err>(
  shared: Shared,
  current: () => Circuit,
  { bypasses, inForce }: Parts,
  mustExist: boolean
): Breaker<Err> & Judges => {
  const { hub, ticker } = shared
  const run = runOf(shared)
  const through = <A, E, R>(self: Effect.Effect<A, E, R>, classify: AnyClassify | undefined) =>
    Effect.withFiber((fiber): Effect.Effect<A, any, R> =>
      bypasses && !isEnforcementGiven(fiber) ? self : run(current(), self, classify, fiber)
    )
  const find: Find = (fiber) => bypasses && !isEnforcementGiven(fiber) ? undefined : current()
  const act = (to: Act, why: Why) => operate(current, to, why, mustExist)
  return {
    get circuit() {
      return current().name
    },
    [judge]: (exit) => judged(current(), undefined, exit, identity),
    wrap: (self) => through(self, undefined),
    wrapWith: dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, { classify }: { readonly classify?: AnyClassify | undefined }) =>
        through(self, classify)
    ),
    permit: permitFrom(() => current().name, find, false),
    awaitPermit: permitFrom(() => current().name, find, true),
    wrapStream: (self) => guardedStream(self, find, {}),
    wrapStreamWith: dual(
      2,
      <A, E, R>(self: Stream.Stream<A, E, R>, options: StreamOptions) => guardedStream(self, find, options)
    ),
    state: Effect.sync(() => current().state),
    snapshot: Effect.sync(() => current().snapshot(ticker.exact())),
    events: Stream.suspend(() => {
      const { name } = current()
      return Stream.filter(hub.events, (event) => event._tag === "Lost" || event.circuit === name)
    }),
    override: (options) => {
      refuse("override", overrideProblems(options))
      const { actor, expiresIn, mode, reason } = options
      const remaining = expiresIn === undefined ? undefined : Duration.toMillis(Duration.fromInputUnsafe(expiresIn))
      return act({ _tag: "Override", kind: mode, reason, actor, remaining }, { reason, actor })
    },
    clearOverride: (options) => {
      refuse("clearOverride", clearProblems(options))
      return act({ _tag: "ClearOverride" }, { reason: "override cleared", actor: options.actor })
    },
    forceHalfOpen: act({ _tag: "HalfOpen" }, { reason: "forced half-open" }),
    reset: act({ _tag: "Reset" }, { reason: "reset" }),
    policy: Effect.sync(() => inForce.policy),
    reconfigure: (change) => inForce.reconfigure(change)
  }
}

/** An operator's act: on the whole fleet, or on this circuit where there is none. */
const operate = (
  current: () => Circuit,
  act: Act,
  why: Why,
  mustExist: boolean
): Effect.Effect<void, StorageError> =>
  Effect.suspend(() => {
    const circuit = current()
    const { fleet, ticker } = circuit.shared
    const existing = mustExist && !circuit.isInUse
    const failure = (reason: StorageError["reason"], cause: string) =>
      Effect.fail(new StorageError({ operation: "change", circuit: circuit.name, reason, cause }))
    if (fleet === undefined) {
      return existing
        ? failure("Denied", NO_SUCH_CIRCUIT)
        : Effect.sync(() => circuit.operate(act, why, ticker.exact()))
    }
    const member = circuit.join()
    return member !== undefined && !fleet.hasLeft()
      ? member.operate(act, why, existing)
      : failure("Unavailable", "the breaker's scope has closed")
  })

// -----------------------------------------------------------------------------
// services
// -----------------------------------------------------------------------------

// The type is the message that the compiler shows for `class X extends Breaker.Service()("x", {})`.
type MissingSelf<Usage extends string> = `Missing \`Self\` generic - use \`class Self extends ${Usage}<Self>()(...)\``

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
export const Service = <Self = never>() =>
<const Name extends string, const P extends Policy>(
  name: Name,
  policy: P
): [Self] extends [never] ? MissingSelf<"Breaker.Service"> : ServiceClass<Self, Name, P> => {
  ResolvedPolicy.resolve(name, policy)
  const Key = Context.Service<Self, Breaker<ErrorOf<P>>>()(`effect-breaker/Breaker/${name}`)
  const layerOf = (owner: Owner, whole: P) =>
    Layer.effect(Key, Effect.andThen(claim(name, owner), makeAs(name, whole, policy)))
  class BreakerService extends Key {
    static readonly policy = policy
    static readonly wrap = wrapThrough(Key)
    static readonly wrapWith = dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, options: { readonly classify?: AnyClassify | undefined }) =>
        Effect.flatMap(Key, (breaker) => breaker.wrapWith(self, options))
    )
    static readonly circuit = name
    static readonly [judge]: Judges[typeof judge] = (exit) => Effect.flatMap(Key, (breaker) => judgedBy(breaker, exit))
    static readonly permit = Effect.flatMap(Key, ({ permit }) => permit)
    static readonly awaitPermit = Effect.flatMap(Key, ({ awaitPermit }) => awaitPermit)
    static readonly wrapStream = <A, E, R>(self: Stream.Stream<A, E, R>) =>
      Stream.unwrap(Effect.map(Key, (breaker) => breaker.wrapStream(self)))
    static readonly wrapStreamWith = dual(
      2,
      <A, E, R>(self: Stream.Stream<A, E, R>, options: StreamOptions) =>
        Stream.unwrap(Effect.map(Key, (breaker) => breaker.wrapStreamWith(self, options)))
    )
    static readonly reconfigure = (change: Data) => Effect.flatMap(Key, (breaker) => breaker.reconfigure(change))
    static get layer() {
      return once(this, "layer", layerOf({ identity: this, title: this.name }, policy))
    }
    static layerConfig(overrides: Config.Wrap<Partial<Policy>>) {
      const owner = { identity: this, title: this.name }
      const merged = (given: Policy): P => ResolvedPolicy.merge(policy, given)
      return Layer.unwrap(
        Effect.map(configured(name, policy, () => Config.unwrap(overrides), merged), (policy) => layerOf(owner, policy))
      )
    }
    static readonly layerTest = (state: TestState<ErrorOf<P>> = {}) =>
      Layer.effect(
        Key,
        Effect.map(Effect.context<never>(), (context): Breaker<ErrorOf<P>> => testBreaker(name, policy, state, context))
      )
  }
  return BreakerService as any
}

/**
 * A keyed breaker as a service class: `Service`, with a circuit for each key.
 *
 * @category services
 * @since 0.1.0
 */
export const KeyedService = <Self = never>() =>
<const Name extends string, const P extends Policy & KeyedOptions>(
  name: Name,
  policy: P
): [Self] extends [never] ? MissingSelf<"Breaker.KeyedService"> : KeyedServiceClass<Self, Name, P> => {
  refuseKeyed(name, policy)
  const Key = Context.Service<Self, KeyedBreaker<ErrorOf<P>>>()(`effect-breaker/KeyedBreaker/${name}`)
  const layerOf = (owner: Owner, whole: P) =>
    Layer.effect(Key, Effect.andThen(claimKeys(prefixOf(name), owner), makeKeyedAs(name, whole, policy)))
  class KeyedBreakerService extends Key {
    static readonly policy = policy
    static readonly wrap = dual(
      2,
      <A, E, R>(self: Effect.Effect<A, E, R>, options: KeyedCall) =>
        Effect.withFiber((fiber) => Context.getUnsafe(fiber.context, Key).wrap(self, options))
    )
    static readonly permit = (options: KeyedCall) => Effect.flatMap(Key, (keyed) => keyed.permit(options))
    static readonly awaitPermit = (options: KeyedCall) => Effect.flatMap(Key, (keyed) => keyed.awaitPermit(options))
    static readonly wrapStream = dual(
      2,
      <A, E, R>(self: Stream.Stream<A, E, R>, options: KeyedCall) =>
        Stream.unwrap(Effect.map(Key, (keyed) => keyed.wrapStream(self, options)))
    )
    static readonly entries = Effect.flatMap(Key, ({ entries }) => entries)
    static readonly reconfigure = (change: Data & KeyedOptions) =>
      Effect.flatMap(Key, (keyed) => keyed.reconfigure(change))
    static get layer() {
      return once(this, "layer", layerOf({ identity: this, title: this.name }, policy))
    }
    static layerConfig(overrides: Config.Wrap<Partial<Policy & KeyedOptions>>) {
      const owner = { identity: this, title: this.name }
      const merged = (given: Policy): P => ResolvedPolicy.merge(policy, given)
      const check = (policy: Policy & KeyedOptions) => [
        ...ResolvedPolicy.problems(policy, ResolvedPolicy.keyedFields),
        ...ResolvedPolicy.keyedProblems(policy)
      ]
      return Layer.unwrap(
        Effect.map(
          configured(name, policy, () => Config.unwrap(overrides), merged, check),
          (policy) => layerOf(owner, policy)
        )
      )
    }
    static readonly layerTest = ({ keys = {}, open = [] }: Partial<TestKeys> = {}) =>
      Layer.effect(
        Key,
        Effect.map(
          Effect.context<never>(),
          (context): KeyedBreaker<ErrorOf<P>> => testKeyedBreaker(name, policy, { open, keys }, context)
        )
      )
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
  const declared = { ...defaultErrors, ...policy }
  const made = makeAs(name, policy, declared) as Effect.Effect<
    Breaker<BreakerError>,
    never,
    Storage | Scope.Scope | ServicesOf<P>
  >
  return Layer.effect(Breaker, Effect.andThen(claim(name, defaultOwner(name)), made))
}

/**
 * Provides the default breaker with its policy from config. An invalid value is a `ConfigError` that names the field, the value
 * and the range. So is a policy under which calls could fail with `StorageError`, which the default breaker's type does not have.
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
      const data = yield* configured(name, defaultErrors, () => Config.unwrap<Data>(policy), ResolvedPolicy.given)
      return (yield* makeAs(name, data, defaultErrors)) as Breaker<BreakerError>
    })
  )

/** The errors of the default breaker: `StorageError` is not among them. */
const defaultErrors: Policy = { timeout: undefined, maxConcurrent: undefined }

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
 * A policy from config, each field optional, under a prefix. For `PAYMENTS` the environment variables are `PAYMENTS_OPEN_FOR`,
 * `PAYMENTS_MAX_OPEN_FOR`, `PAYMENTS_TIMEOUT`, `PAYMENTS_MAX_CONCURRENT`, `PAYMENTS_HALF_OPEN_PROBES` and so on: the table of
 * `docs/configuration.md` has all, from `_TRIP` on, which is a trip policy as JSON. A duration has its unit. For bare seconds, other
 * names and files see `effect-breaker/config/BreakerConfig`. An invalid value is a `ConfigError` that names the field, the value and
 * the range. A field that is not set is absent, so the policy can be spread over another.
 *
 * **Gotchas**
 *
 * - A spread replaces `halfOpen` as a whole. `layerConfig` merges it field by field.
 * - A variable under the prefix that looks like one of these and is not, such as `PAYMENTS_TIMOUT`, is logged at `Warn` with the
 *   one that was probably meant. All others that it does not read are logged at `Debug`.
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
export const config = (prefix: string): Config.Config<Data> => policyFrom(prefix)

/**
 * Declares a field of a policy without giving it a value, so that config may set it: with `timeout:
 * Breaker.unset<Duration.Input>()` there is no timeout until config sets one, and `BreakerTimeoutError` is in the error type from
 * the beginning.
 *
 * **Example** (A timeout that only config sets)
 *
 * ```ts import.meta.vitest
 * import { type Duration, Effect } from "effect"
 * import { Breaker } from "effect-breaker"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", { timeout: Breaker.unset<Duration.Input>() }) {}
 *
 * // Effect<string, BreakerOpenError | BreakerTimeoutError, Payments>
 * const charge = Effect.succeed("charged").pipe(Payments.wrap)
 * const PaymentsLive = Payments.layerConfig(Breaker.config("PAYMENTS"))
 * ```
 *
 * @category config
 * @since 0.1.0
 */
export const unset = <A>(): A | undefined => undefined

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
          Effect.catchCause((cause) =>
            Cause.hasInterruptsOnly(cause) ? Effect.void : unhandled(messages.listenerFailed, cause)
          )
        )
      ),
      Effect.forkScoped({ startImmediately: true })
    )
  })) as Layer.Layer<never, never, Self | R>
