// @effect-diagnostics floatingEffect:off missingEffectContext:off missingEffectError:off
/** The errors that a call through a breaker can fail with, for each shape of a policy. */
import { type Config, type Context, type Duration, Effect, type Exit, Layer, type Scope, type Stream } from "effect"
import { HttpClient, type HttpClientResponse } from "effect/http"
import { Breaker, Outcome, Storage, Trip } from "../../src/index.ts"

type Eq<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
const eq = <X, Y>(_: Eq<X, Y>) => {}

type Open = Breaker.BreakerOpenError
type Timeout = Breaker.BreakerTimeoutError
type Full = Breaker.BulkheadFullError
type Of<P> = Breaker.ErrorOf<P>

eq<Of<{}>, Open>(true)
eq<Of<{ timeout: "1 second" }>, Open | Timeout>(true)
eq<Of<{ timeout?: "1 second" }>, Open | Timeout>(true)
eq<Of<{ timeout: Duration.Input | undefined }>, Open | Timeout>(true)
eq<Of<{ timeout: undefined; maxConcurrent: undefined; halfOpen: undefined }>, Open>(true)
eq<Of<{ halfOpen: { probes: 2 } }>, Open>(true)
eq<Of<{ halfOpen: { timeout: 5 } }>, Open | Timeout>(true)
eq<Of<{ halfOpen: { timeout: undefined } }>, Open>(true)
eq<Of<{ halfOpen: Breaker.HalfOpen }>, Open | Timeout>(true)
eq<Of<{ maxConcurrent: 5 }>, Open | Full>(true)
eq<Of<{ maxConcurrent: number | undefined }>, Open | Full>(true)
eq<Of<{ maxConcurrent: 5; timeout: 5 }>, Open | Full | Timeout>(true)
eq<Of<{ consistency: "strict" }>, Open>(true)
eq<Of<{ onStorageError: "fail" }>, Open>(true)
eq<Of<{ consistency: "local"; onStorageError: "fail" }>, Open>(true)
eq<Of<{ consistency: "strict"; onStorageError: "allow" }>, Open>(true)
eq<Of<{ consistency: "strict"; onStorageError: "fail" }>, Open | Storage.StorageError>(true)
eq<Of<{ consistency: { maxAge: 5 }; onStorageError: "fail" }>, Open | Storage.StorageError>(true)
eq<Of<{ consistency: Breaker.Consistency; onStorageError: "fail" | "allow" }>, Open | Storage.StorageError>(true)
eq<Of<Breaker.Policy>, Breaker.BreakerError | Storage.StorageError>(true)
eq<Of<Breaker.Data>, Breaker.BreakerError | Storage.StorageError>(true)
// A call under a union of policies can fail with the errors of each.
eq<Of<{ timeout: 5 } | { maxConcurrent: 5 }>, Open | Timeout | Full>(true)
eq<Of<{ consistency: "strict"; onStorageError: "fail" } | {}>, Open | Storage.StorageError>(true)

// Every constructor infers the errors from a literal policy.
const made = Breaker.make("made", { timeout: "1 second", maxConcurrent: 5 })
eq<Effect.Success<typeof made>, Breaker.Breaker<Open | Timeout | Full>>(true)
eq<Effect.Services<typeof made>, Storage.Storage | Scope.Scope>(true)
const keyed = Breaker.makeKeyed("keyed", { capacity: 10, halfOpen: { timeout: "1 second" } })
eq<Effect.Success<typeof keyed>, Breaker.KeyedBreaker<Open | Timeout>>(true)
class Plain extends Breaker.Service<Plain>()("plain", { trip: Trip.consecutiveFailures(3) }) {}
class Hosts extends Breaker.KeyedService<Hosts>()("hosts", { capacity: 10 }) {}
eq<typeof Plain.layer, Layer.Layer<Plain, never, Storage.Storage>>(true)
eq<typeof Hosts.layer, Layer.Layer<Hosts, never, Storage.Storage>>(true)
eq<Context.Service.Shape<typeof Plain>, Breaker.Breaker<Open>>(true)

// `wrap` keeps the call's own types, in both forms, and adds the breaker's errors and requirements.
declare const call: Effect.Effect<string, "no", "service">
const wrapped = [Plain.wrap(call), call.pipe(Plain.wrap)] as const
eq<typeof wrapped[0], Effect.Effect<string, "no" | Open, "service" | Plain>>(true)
eq<typeof wrapped[1], typeof wrapped[0]>(true)
const withKey = [Hosts.wrap(call, { key: "a" }), call.pipe(Hosts.wrap({ key: "a" }))] as const
eq<typeof withKey[0], Effect.Effect<string, "no" | Open, "service" | Hosts>>(true)
eq<typeof withKey[1], typeof withKey[0]>(true)
// @ts-expect-error a keyed call has a key
Hosts.wrap(call, {})
// @ts-expect-error the key is a string
Hosts.wrap(call, { key: 1 })
// @ts-expect-error a wrapped call still needs its breaker
void Effect.runPromise(Effect.orDie(Plain.wrap(Effect.void)))
// @ts-expect-error the breaker's layer still needs a storage
void Effect.runPromise(Effect.orDie(Effect.provide(Plain.wrap(Effect.void), Plain.layer)))
// @ts-expect-error a plain value is not a layer
Effect.provide(Plain.wrap(Effect.void), { backend: "memory" })
// @ts-expect-error a plain value is not an effect that makes a storage
Layer.effect(Storage.Storage, { backend: "memory" })
const complete = Plain.wrap(Effect.void).pipe(Effect.provide(Plain.layer), Effect.provide(Storage.MemoryStorageLive))
eq<typeof complete, Effect.Effect<void, Open>>(true)

// The layer requires the policy's `classify` services; a call requires those of its own `classify`.
declare const judge: () => Effect.Effect<Outcome.Outcome, never, "judge">
class Judged extends Breaker.Service<Judged>()("judged", { classify: judge }) {}
eq<typeof Judged.layer, Layer.Layer<Judged, never, Storage.Storage | "judge">>(true)
const judged = Plain.wrapWith(call, { classify: judge })
eq<typeof judged, Effect.Effect<string, "no" | Open, "service" | "judge" | Plain>>(true)
class Simple extends Breaker.Service<Simple>()("simple", { classify: () => Outcome.success }) {}
eq<typeof Simple.layer, Layer.Layer<Simple, never, Storage.Storage>>(true)
// @ts-expect-error `classify` must not fail
Plain.wrapWith(call, { classify: () => Effect.fail("no") })
// @ts-expect-error `classify` must return an outcome
Plain.wrapWith(call, { classify: () => undefined })

// A policy refuses unknown fields.
// @ts-expect-error
Breaker.layer("typo", { openfor: "1 second" })

// The default breaker's error type has no StorageError.
// @ts-expect-error
Breaker.layer("strict", { consistency: "strict", onStorageError: "fail" })
// @ts-expect-error
Breaker.layer("wide", {} as Breaker.Policy)
eq<ReturnType<typeof Breaker.layer<{}>>, Layer.Layer<Breaker.Breaker<Breaker.BreakerError>, never, Storage.Storage>>(
  true
)

// A field that adds an error can be configured only if the policy declares it. Otherwise the error type would be wrong.
declare const duration: Config.Config<Duration.Duration>
declare const count: Config.Config<number>
declare const fails: Config.Config<"fail">
declare const strict: Config.Config<Breaker.Consistency>
class Timed extends Breaker.Service<Timed>()("timed", { timeout: "1 second", openFor: "1 second" }) {}
Timed.layerConfig({ timeout: duration, openFor: duration })
Timed.layerConfig({ timeout: duration })
// @ts-expect-error
Timed.layerConfig({ timeout: duration, maxConcurrent: count })
class Untimed extends Breaker.Service<Untimed>()("untimed", { timeout: undefined, openFor: "1 second" }) {}
// @ts-expect-error a field declared as undefined is not declared
Untimed.layerConfig({ timeout: duration })
Untimed.layerConfig({ openFor: duration })
class Probed extends Breaker.Service<Probed>()("probed", { halfOpen: { probes: 2 } }) {}
Probed.layerConfig({ halfOpen: { probes: count, lease: duration } })
// @ts-expect-error a probe's timeout is in the error type, too
Probed.layerConfig({ halfOpen: { timeout: duration } })
class Lenient extends Breaker.Service<Lenient>()("lenient", { consistency: "strict", onStorageError: "allow" }) {}
// @ts-expect-error
Lenient.layerConfig({ onStorageError: fails })
// @ts-expect-error
Lenient.layerConfig({ consistency: strict })
class Strict extends Breaker.Service<Strict>()("strict", { consistency: "strict", onStorageError: "fail" }) {}
Strict.layerConfig({ onStorageError: fails })
class Allowing extends Breaker.Service<Allowing>()("allowing", { consistency: "local" }) {}
Allowing.layerConfig({ consistency: strict })
class Wide extends Breaker.Service<Wide>()("wide", {} as Breaker.Policy) {}
Wide.layerConfig({ timeout: duration, maxConcurrent: count, onStorageError: fails, halfOpen: { timeout: duration } })

// A whole config may be given. What the policy does not declare is then refused when it is read.
declare const whole: Config.Config<Breaker.Data>
Timed.layerConfig(whole)
Probed.layerConfig(whole)
// @ts-expect-error a field declared as undefined never has a value, so no config of it is accepted
Untimed.layerConfig(whole)
class UntimedProbes extends Breaker.Service<UntimedProbes>()("untimed-probes", { halfOpen: { timeout: undefined } }) {}
// @ts-expect-error the same for a probe's timeout
UntimedProbes.layerConfig(whole)

// A keyed service has the same, and its own options.
class TimedHosts extends Breaker.KeyedService<TimedHosts>()("timed-hosts", { timeout: "1 second", capacity: 10 }) {}
const hostsLive = TimedHosts.layerConfig({ timeout: duration, capacity: count })
eq<typeof hostsLive, Layer.Layer<TimedHosts, Config.ConfigError, Storage.Storage>>(true)
TimedHosts.layerConfig(whole)
// @ts-expect-error
TimedHosts.layerConfig({ maxConcurrent: count })
// @ts-expect-error an option that the policy does not declare
TimedHosts.layerConfig({ idleTimeToLive: duration })
eq<ReturnType<typeof TimedHosts.layerTest>, Layer.Layer<TimedHosts>>(true)
TimedHosts.layerTest({ open: ["a"] })
TimedHosts.layerTest({ open: "all" })
// @ts-expect-error keys are a list
TimedHosts.layerTest({ open: "a" })
eq<typeof TimedHosts.entries, Effect.Effect<ReadonlyArray<Breaker.KeyedEntry>, never, TimedHosts>>(true)

// `unset` declares a field without a value.
class Unset extends Breaker.Service<Unset>()("unset", {
  timeout: Breaker.unset<Duration.Input>(),
  maxConcurrent: Breaker.unset<number>()
}) {}
eq<Context.Service.Shape<typeof Unset>, Breaker.Breaker<Open | Timeout | Full>>(true)
Unset.layerConfig({ timeout: duration, maxConcurrent: count })
Unset.layerConfig(whole)

// A service without its `Self` would have no requirement that a layer could meet. (F29)
// @ts-expect-error Missing `Self` generic
class NoSelf extends Breaker.Service()("no-self", {}) {}
// @ts-expect-error Missing `Self` generic
class NoKeyedSelf extends Breaker.KeyedService()("no-keyed-self", {}) {}
const noSelf = Breaker.Service()("no-self", {})
eq<typeof noSelf, "Missing `Self` generic - use `class Self extends Breaker.Service<Self>()(...)`">(true)
const noKeyedSelf = Breaker.KeyedService()("no-self", {})
eq<
  typeof noKeyedSelf,
  "Missing `Self` generic - use `class Self extends Breaker.KeyedService<Self>()(...)`"
>(true)

// The tag of an event narrows its type.
declare const event: Breaker.Event
if (event._tag === "Lost") eq<typeof event.count, number>(true)
if (event._tag === "Transition") eq<typeof event.to, "Closed" | "Open" | "HalfOpen">(true)
// @ts-expect-error a Lost event has no circuit
void event.circuit

// Each guard narrows to its errors, and leaves the others.
type Mine = { readonly _tag: "Mine" }
declare const error: "no" | Open | Timeout | Full | Storage.StorageError | Mine
if (Breaker.isRejection(error)) eq<typeof error, Open | Timeout | Full>(true)
else eq<typeof error, "no" | Storage.StorageError | Mine>(true)
if (Breaker.isNotCalled(error)) eq<typeof error, Open | Full | Storage.StorageError>(true)
else eq<typeof error, "no" | Timeout | Mine>(true)
if (Breaker.isTimeout(error)) eq<typeof error, Timeout>(true)
else eq<typeof error, "no" | Open | Full | Storage.StorageError | Mine>(true)
if (Breaker.isBreakerError(error)) eq<typeof error, Open | Timeout | Full | Storage.StorageError>(true)
else eq<typeof error, "no" | Mine>(true)

// What stays in the process is in no encoding.
eq<
  keyof typeof Breaker.BreakerOpenError.Encoded,
  "_tag" | "circuit" | "state" | "openedBy" | "ramping" | "overflow" | "retryAfter"
>(true)
eq<keyof typeof Storage.StorageError.Encoded, "_tag" | "operation" | "circuit" | "reason">(true)

// A policy's `classify` may be one that is written for certain calls, and has `unknown` exits where it is written in place.
const byStatus = Breaker.make("by-status", { classify: HttpClient.circuitBreakerClassifier, timeout: "1 second" })
eq<typeof byStatus, Effect.Effect<Breaker.Breaker<Open | Timeout>, never, Storage.Storage | Scope.Scope>>(true)
class Upstream extends Breaker.Service<Upstream>()("upstream", { classify: HttpClient.circuitBreakerClassifier }) {}
eq<typeof Upstream.layer, Layer.Layer<Upstream, never, Storage.Storage>>(true)
class Upstreams extends Breaker.KeyedService<Upstreams>()("upstreams", {
  classify: HttpClient.circuitBreakerClassifier
}) {}
eq<typeof Upstreams.layer, Layer.Layer<Upstreams, never, Storage.Storage>>(true)
declare const response: Effect.Effect<HttpClientResponse.HttpClientResponse, "no">
const upstream = [
  Plain.wrapWith(response, { classify: HttpClient.circuitBreakerClassifier }),
  response.pipe(Plain.wrapWith({ classify: HttpClient.circuitBreakerClassifier })),
  response.pipe(Hosts.wrap({ key: "a", classify: HttpClient.circuitBreakerClassifier }))
] as const
eq<typeof upstream[0], Effect.Effect<HttpClientResponse.HttpClientResponse, "no" | Open, Plain>>(true)
eq<typeof upstream[1], typeof upstream[0]>(true)
eq<typeof upstream[2], Effect.Effect<HttpClientResponse.HttpClientResponse, "no" | Open, Hosts>>(true)
// @ts-expect-error an effect of another type has no status
Plain.wrapWith(call, { classify: HttpClient.circuitBreakerClassifier })
Breaker.make("in-place", {
  classify: (exit) => {
    eq<typeof exit, Exit.Exit<unknown, unknown>>(true)
    return Outcome.success
  }
})
// @ts-expect-error a policy's classify must return an outcome
Breaker.make("no-outcome", { classify: () => true })
// @ts-expect-error it is given an exit
Breaker.make("no-exit", { classify: (status: number) => status < 500 ? Outcome.success : Outcome.failure() })

// A `classify` that does not look at its exit is inferred in every form.
declare const maybe: Breaker.Classify<string, "no"> | undefined
const classified = [
  call.pipe(Hosts.wrap({ key: "a", classify: () => ({ _tag: "Success" }) })),
  Hosts.wrap(call, { key: "a", classify: () => ({ _tag: "Success" }) }),
  call.pipe(Hosts.wrap({ key: "a", classify: maybe })),
  call.pipe(Plain.wrapWith({ classify: () => ({ _tag: "Success" }) }))
] as const
eq<typeof classified[0], Effect.Effect<string, "no" | Open, "service" | Hosts>>(true)
eq<typeof classified[1], typeof classified[0]>(true)
eq<typeof classified[2], typeof classified[0]>(true)
eq<typeof classified[3], Effect.Effect<string, "no" | Open, "service" | Plain>>(true)
declare const stream: Stream.Stream<string, "no">
const streamed = [
  stream.pipe(Plain.wrapStreamWith({ classify: () => ({ _tag: "Success" }) })),
  stream.pipe(Plain.wrapStreamWith({ idleTimeout: 5, classify: () => ({ _tag: "Success" }) }))
] as const
eq<typeof streamed[0], Stream.Stream<string, "no" | Open, Plain>>(true)
eq<typeof streamed[1], Stream.Stream<string, "no" | Open | Timeout, Plain>>(true)

// A breaker with fewer errors is one with more, and not the other way round.
declare const fewer: Breaker.Breaker<Open>
declare const more: Breaker.Breaker<Open | Timeout>
export const widened: Breaker.Breaker<Open | Timeout> = fewer
export const widenedGuard: Breaker.Guard<Open | Timeout | Full, never> = more
// @ts-expect-error its calls can time out
export const narrowed: Breaker.Breaker<Open> = more
// @ts-expect-error the same for what is around a call
export const narrowedGuard: Breaker.Guard<Open, never> = more
// Whatever the policy is, its calls can be rejected.
export const ofAny = <P extends Breaker.Policy>(error: Open): Breaker.ErrorOf<P> => error
eq<Breaker.PermitError<Open | Timeout | Full | Storage.StorageError>, Open | Full | Storage.StorageError>(true)
eq<Breaker.AwaitError<Open | Timeout | Full | Storage.StorageError>, Storage.StorageError>(true)
eq<Breaker.AwaitError<Open>, never>(true)
