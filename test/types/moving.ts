// @effect-diagnostics floatingEffect:off missingEffectError:off
/** What adopters write to move from another breaker. Nothing here runs: it must type-check, and what is marked must not. */
import type { CircuitBreakerPolicy } from "cockatiel"
import { Config, Duration, Effect } from "effect"
import { HttpClient, type HttpClientError } from "effect/http"
import type Opossum from "opossum"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Trip } from "../../src/index.ts"
import * as Adapter from "../../src/interop/Adapter.ts"
import * as Compare from "../../src/interop/Compare.ts"

type Eq<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
const eq = <X, Y>(_: Eq<X, Y>) => {}

class Payments
  extends Breaker.Service<Payments>()("payments", { trip: Trip.consecutiveFailures(5), timeout: "2 seconds" })
{}

// an opossum behind one client, ours beside it, a flag that switches
declare const opossum: {
  readonly fire: (call: () => Promise<any>) => Promise<any>
  readonly opened: boolean
  readonly halfOpen: boolean
}
declare const flag: Effect.Effect<boolean>
const moving = Compare.compare(
  { old: Adapter.opossum("payments", opossum), new: Payments },
  {
    decides: Effect.map(flag, (on) => on ? "new" : "old"),
    onMismatch: (mismatch) => Effect.logWarning("breakers disagree", mismatch)
  }
)
const movingClient = HttpClient.HttpClient.use((client) =>
  client.pipe(BreakerHttpClient.withBreaker(moving)).post("https://payments.test/charges")
)
eq<
  Effect.Error<typeof movingClient>,
  HttpClientError.HttpClientError | Adapter.ForeignOpenError | Breaker.BreakerOpenError | Breaker.BreakerTimeoutError
>(true)
eq<Effect.Services<typeof movingClient>, HttpClient.HttpClient | Payments>(true)
eq<
  Effect.Success<ReturnType<typeof Compare.agreement>>,
  { readonly calls: number; readonly decided: number; readonly outcome: number }
>(true)
const howOften = Compare.agreement(moving)
eq<typeof howOften, ReturnType<typeof Compare.agreement>>(true)

// a permit has the errors of both, without the timeout, which ends no permit
eq<Effect.Error<typeof moving.permit>, Adapter.ForeignOpenError | Breaker.BreakerOpenError>(true)

// a flag of each service from config
Compare.compare({ old: Adapter.opossum("payments", opossum), new: Payments }, {
  decides: Config.Literals(["old", "new"], "PAYMENTS_BREAKER_DECIDES").pipe(Config.withDefault("old")),
  compare: Config.Boolean("PAYMENTS_BREAKER_COMPARED")
})

// the real ones fit without their types
declare const policy: CircuitBreakerPolicy
Adapter.cockatiel("payments", policy)
declare const opossumOfThePackage: Opossum<[() => Promise<any>], any>
Adapter.opossum("payments", opossumOfThePackage)

declare const legacy: {
  readonly allowed: (url: string) => boolean
  readonly ok: (ms: number) => void
  readonly bad: (error: unknown) => void
}
const adapter = Adapter.twoStep("legacy", {
  before: (call) => legacy.allowed(call.url ?? ""),
  success: (_, duration) => legacy.ok(Duration.toMillis(duration)),
  failure: (_, error) => legacy.bad(error)
})
const legacyClient = HttpClient.HttpClient.use((client) =>
  client.pipe(BreakerHttpClient.withBreaker(adapter)).get("https://old.test/")
)
eq<Effect.Error<typeof legacyClient>, HttpClientError.HttpClientError | Adapter.ForeignOpenError>(true)

// @ts-expect-error an adapter that never says how a call ended
Adapter.twoStep("legacy", { before: () => true })
// @ts-expect-error two sides, or there is nothing to compare
Compare.compare({ new: Payments })
// @ts-expect-error there are two sides
Compare.compare({ old: adapter, new: Payments }, { decides: "both" })
// @ts-expect-error a flag may not fail with what nobody handles
Compare.compare({ old: adapter, new: Payments }, { decides: Effect.fail("flag") })
// @ts-expect-error a breaker by itself agrees with nobody
Compare.agreement(Payments)
