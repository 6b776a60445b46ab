import { Config, Context, Effect, Exit, Layer, Schedule } from "effect"
import { Breaker, Trip } from "../../src/index.ts"
import * as Storage from "./storageWithRedis.ts"

// Code that adopters want to write. It must type-check against the real library, with only the import above changed
// (layers come from their own subpaths there).
type Eq<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
const eq = <X, Y>(_: Eq<X, Y>) => {}
declare const charge: Effect.Effect<string, "declined">

// 1 quickstart
const quick = Breaker.wrap(charge).pipe(
  Effect.provide(Breaker.layer("payments", { timeout: "2 seconds" })),
  Effect.provide(Storage.RedisStorageLive)
)
eq<typeof quick, Effect.Effect<string, "declined" | Breaker.BreakerError | Config.ConfigError>>(true)
const quick2 = charge.pipe(Breaker.wrap)
eq<typeof quick2, Effect.Effect<string, "declined" | Breaker.BreakerError, Breaker.Breaker<Breaker.BreakerError>>>(true)
// @ts-expect-error
Breaker.layer("x", { consistency: "strict", onStorageError: "fail" })

// 2 three services
class Alerts extends Context.Service<Alerts, { readonly page: (m: string) => Effect.Effect<void> }>()("Alerts") {}
class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.failureRate({ threshold: 0.5, within: "30 seconds", minimumCalls: 20 }),
  openFor: Schedule.exponential("1 second"),
  timeout: "2 seconds"
}) {}
class Search extends Breaker.Service<Search>()("search", { openFor: "5 seconds", maxConcurrent: 50 }) {}
class Ledger extends Breaker.Service<Ledger>()("ledger", { consistency: "strict", onStorageError: "fail" }) {}
const program = Effect.gen(function*() {
  const a = yield* charge.pipe(Payments.wrap)
  const b = yield* Search.wrap(Effect.succeed([1]))
  const c = yield* Effect.succeed(true).pipe(Ledger.wrap)
  const ledger = yield* Ledger
  return { a, b, c, s: yield* ledger.state }
})
eq<Effect.Error<typeof program>, "declined" | Breaker.BreakerError | Storage.StorageError>(true)
eq<Effect.Services<typeof program>, Payments | Search | Ledger>(true)
const page = Breaker.onEvent(
  Payments,
  (e) => e._tag === "Transition" && e.to === "Open" ? Alerts.use((a) => a.page(e.circuit)) : Effect.void
)
const breakers = Layer.mergeAll(Payments.layer, Search.layer, Ledger.layer).pipe(
  Layer.provide(Storage.RedisStorageLive)
)
const app = Layer.mergeAll(breakers, page.pipe(Layer.provide(breakers)))
eq<typeof app, Layer.Layer<Payments | Search | Ledger, Config.ConfigError, Alerts>>(true)

// 3 per host
class Hosts extends Breaker.KeyedService<Hosts>()("http", { timeout: "1 second", capacity: 1000 }) {}
interface Res {
  readonly status: number
}
declare const get: (url: { readonly host: string }) => Effect.Effect<Res, "network">
const fetchIt = (url: { readonly host: string }) =>
  get(url).pipe(Hosts.wrap({
    key: url.host,
    classify: (exit) => Exit.isSuccess(exit) && exit.value.status >= 500 ? { _tag: "Failure" } : { _tag: "Success" }
  }))
eq<
  ReturnType<typeof fetchIt>,
  Effect.Effect<Res, "network" | Breaker.BreakerOpenError | Breaker.BreakerTimeoutError, Hosts>
>(true)
const dataFirst = Hosts.wrap(charge, { key: "a" })
eq<typeof dataFirst, Effect.Effect<string, "declined" | Breaker.BreakerOpenError | Breaker.BreakerTimeoutError, Hosts>>(
  true
)

// 4, 5 handler and fallback
const handler = Effect.fn("handler")(
  function*(id: string) {
    return yield* charge
  },
  Payments.wrap,
  Effect.catchIf(Breaker.isRejection, (e) => Effect.succeed(`cached, because ${e._tag} on ${e.circuit}`))
)
eq<ReturnType<typeof handler>, Effect.Effect<string, "declined", Payments>>(true)
const pc = charge.pipe(
  Payments.wrapWith({
    classify: (exit) => Exit.isSuccess(exit) && exit.value.length === 0 ? { _tag: "Failure" } : { _tag: "Success" }
  })
)
eq<typeof pc, Effect.Effect<string, "declined" | Breaker.BreakerOpenError | Breaker.BreakerTimeoutError, Payments>>(
  true
)

// 6 tests of code that uses a breaker
const t = handler("1").pipe(Effect.provide(Payments.layerTest({ state: "Open" })))
eq<typeof t, Effect.Effect<string, "declined">>(true)

// 7 overriding in production: it fails if the storage fails
const kill = Payments.use((b) =>
  b.override({ mode: "ForcedOpen", reason: "incident 42", actor: "oncall", expiresIn: "10 minutes" })
)
eq<typeof kill, Effect.Effect<void, Storage.StorageError, Payments>>(true)
const off = charge.pipe(Payments.wrap, Effect.provideService(Breaker.Enforcement, "bypass"))

// 8 by environment, and per-service policy from config
const env = Breaker.layerConfig("payments", Breaker.config("PAYMENTS"))
const env2 = Payments.layerConfig({ timeout: Config.Duration("PAYMENTS_TIMEOUT") })
// @ts-expect-error Ledger has no timeout in its type, so none may be configured in
Ledger.layerConfig({ timeout: Config.Duration("LEDGER_TIMEOUT") })
const chain = Storage.fallback([
  { storage: Storage.RedisStorageLive, deadline: "5 millis" },
  { storage: Storage.MemoryStorageLive, deadline: "2 millis" },
  { storage: Storage.NullStorageLive }
])
eq<typeof chain, Layer.Layer<Storage.Storage, Config.ConfigError>>(true)

// soundness
class Wide extends Breaker.Service<Wide>()("wide", {} as Breaker.Policy) {}
const ww = charge.pipe(Wide.wrap)
eq<Effect.Error<typeof ww>, "declined" | Breaker.BreakerError | Storage.StorageError>(true)
class Half extends Breaker.Service<Half>()("half", { halfOpen: { timeout: "1 second" } }) {}
const hw = charge.pipe(Half.wrap)
eq<Effect.Error<typeof hw>, "declined" | Breaker.BreakerOpenError | Breaker.BreakerTimeoutError>(true)
class None extends Breaker.Service<None>()("none", { timeout: undefined }) {}
const nw = charge.pipe(None.wrap)
eq<Effect.Error<typeof nw>, "declined" | Breaker.BreakerOpenError>(true)
// covariance: any breaker is a Breaker<BreakerError>
export const asDefault: Layer.Layer<Breaker.Breaker<Breaker.BreakerError>, never, Payments> = Layer.effect(
  Breaker.Breaker,
  Payments
)
