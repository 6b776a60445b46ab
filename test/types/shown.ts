/** What users export and hover over. `shown.test.ts` compares how the compiler shows these types. */
import { Effect, Stream } from "effect"
import { HttpClient } from "effect/http"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Trip } from "../../src/index.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(5),
  timeout: "2 seconds"
}) {}
class Hosts extends Breaker.KeyedService<Hosts>()("hosts", { timeout: "2 seconds", maxConcurrent: 5, capacity: 5 }) {}
class Ledger extends Breaker.Service<Ledger>()("ledger", { consistency: "strict", onStorageError: "fail" }) {}
declare const call: Effect.Effect<string, "declined">

export const wrapped = call.pipe(Payments.wrap)
export const wrappedWith = Payments.wrapWith(call, {})
export const handled = call.pipe(Payments.wrap, Effect.catchTag("BreakerOpenError", () => Effect.succeed("later")))
export const keyed = call.pipe(Hosts.wrap({ key: "a" }))
export const strict = call.pipe(Ledger.wrap)
export const generated = Effect.gen(function*() {
  const payments = yield* Payments
  return yield* payments.wrap(call)
})
export const permit = Hosts.permit({ key: "a" })
export const stream = Stream.make(1).pipe(Payments.wrapStream)
export const made = Breaker.make("made", { timeout: "2 seconds" })
export const madeKeyed = Breaker.makeKeyed("made", { timeout: "2 seconds", capacity: 5 })
export const wrap = Payments.wrap
export const client = Effect.map(HttpClient.HttpClient, (client) => BreakerHttpClient.withBreaker(client, Payments))
