// @effect-diagnostics floatingEffect:off missingEffectContext:off missingEffectError:off
/** Adopters' code beside Effect's own breaker: what must compile, and what must not. */
import { type Config, Effect, Layer } from "effect"
import { HttpClient } from "effect/http"
import { CircuitBreaker } from "effect/persistence"

import { Breaker, Trip } from "../../src/index.ts"
import * as EffectCircuitBreaker from "../../src/interop/EffectCircuitBreaker.ts"
import { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"
import type { Storage } from "../../src/Storage/Storage.ts"

type Eq<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
const eq = <X, Y>(_: Eq<X, Y>) => {}

class Origins extends Breaker.KeyedService<Origins>()("http", { capacity: 1000, openFor: "30 seconds" }) {}
class Tenants extends Breaker.KeyedService<Tenants>()("tenants", { maxConcurrent: 20 }) {}
class Slow extends Breaker.KeyedService<Slow>()("slow", { timeout: "2 seconds" }) {}
class Probed extends Breaker.KeyedService<Probed>()("probed", { halfOpen: { timeout: "1 second" } }) {}
class Ledgers extends Breaker.KeyedService<Ledgers>()("ledgers", { consistency: "strict", onStorageError: "fail" }) {}
class Payments extends Breaker.Service<Payments>()("payments", { trip: Trip.consecutiveFailures(5) }) {}

// Effect's own middleware on our circuits
const asTheirs = Effect.gen(function*() {
  const breaker = yield* CircuitBreaker.CircuitBreaker
  return (yield* HttpClient.HttpClient).pipe(HttpClient.withCircuitBreaker({ breaker }))
}).pipe(Effect.provide(EffectCircuitBreaker.layer(Origins)))
eq<Effect.Services<typeof asTheirs>, HttpClient.HttpClient | Origins>(true)

const ofOrigins = EffectCircuitBreaker.layer(Origins)
eq<typeof ofOrigins, Layer.Layer<CircuitBreaker.CircuitBreaker, never, Origins>>(true)
const ofLedgers = EffectCircuitBreaker.layer(Ledgers)
eq<typeof ofLedgers, Layer.Layer<CircuitBreaker.CircuitBreaker, never, Ledgers>>(true)

// Effect's own breakers on our storages
const theirs = CircuitBreaker.layer({ tripPolicy: CircuitBreaker.consecutive(5), openDuration: "30 seconds" }).pipe(
  Layer.provide(EffectCircuitBreaker.layerStore()),
  Layer.provide(RedisStorageLive)
)
eq<typeof theirs, Layer.Layer<CircuitBreaker.CircuitBreaker, Config.ConfigError>>(true)
const store = EffectCircuitBreaker.layerStore({ prefix: "app:", probeLease: "5 seconds", maxLease: "1 minute" })
eq<typeof store, Layer.Layer<CircuitBreaker.CircuitBreakerStore, never, Storage>>(true)

// @ts-expect-error their errors have no bulkhead
EffectCircuitBreaker.layer(Tenants)
// @ts-expect-error their errors have no timeout
EffectCircuitBreaker.layer(Slow)
// @ts-expect-error nor that of a probe
EffectCircuitBreaker.layer(Probed)
// @ts-expect-error Effect's interface is keyed
EffectCircuitBreaker.layer(Payments)

const inHand = Effect.gen(function*() {
  EffectCircuitBreaker.make(yield* Origins)
  EffectCircuitBreaker.make(yield* Ledgers)
  // @ts-expect-error a bulkhead, in hand
  EffectCircuitBreaker.make(yield* Tenants)
  // @ts-expect-error a timeout, in hand
  EffectCircuitBreaker.make(yield* Slow)
})

declare const wide: Effect.Effect<Breaker.KeyedBreaker<Breaker.BreakerError>>
// @ts-expect-error a breaker whose policy is not known may have either
Effect.map(wide, EffectCircuitBreaker.make)
