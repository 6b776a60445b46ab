// @effect-diagnostics floatingEffect:off
/** What guards of retries accept, and what retried calls fail with. Compiled, and never run. */
import { Effect, Schedule } from "effect"
import { type HttpClient, type HttpClientError } from "effect/http"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Trip } from "../../src/index.ts"
import * as Retry from "../../src/Retry.ts"

type Eq<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
const eq = <X, Y>(_: Eq<X, Y>) => {}

class Shards extends Breaker.Service<Shards>()("shards", {
  trip: Trip.failureRate({ threshold: 0.8, within: "30 seconds", minimumCalls: 50 })
}) {}
class Hosts extends Breaker.KeyedService<Hosts>()("hosts", {}) {}

const row = Effect.succeed("row").pipe(Shards.wrap)

const retried = Effect.gen(function*() {
  const shards = yield* Shards
  const budget = yield* Retry.budget(shards)
  return yield* row.pipe(Effect.retry({ schedule: Schedule.exponential("50 millis"), times: 3, while: budget.while }))
})
eq<typeof retried, Effect.Effect<string, Breaker.BreakerOpenError, Shards>>(true)

const patientJob = row.pipe(
  Effect.retry({ schedule: Retry.afterRejection(Schedule.exponential("100 millis")), times: 5 })
)
eq<typeof patientJob, Effect.Effect<string, Breaker.BreakerOpenError, Shards>>(true)

const never = row.pipe(Effect.retry({ times: 3, while: Retry.notRejected }))
eq<typeof never, Effect.Effect<string, Breaker.BreakerOpenError, Shards>>(true)

// a key has a budget of its own
Effect.flatMap(Hosts, (hosts) => Retry.budget(hosts.get("a.test")))
// @ts-expect-error a keyed breaker has no counts of its own
Effect.flatMap(Hosts, (hosts) => Retry.budget(hosts))
// @ts-expect-error a budget is of calls that a circuit counts
Retry.budget({ perSuccess: 0.1 })

// a schedule that reads errors has to know rejections, too
declare const byCode: Schedule.Schedule<number, { readonly code: number }>
// @ts-expect-error a BreakerOpenError has no code
row.pipe(Effect.retry(Retry.afterRejection(byCode)))

declare const client: HttpClient.HttpClient
declare const budget: Retry.Budget
const polite = client.pipe(BreakerHttpClient.retryTransient({ times: 3, budget }))
eq<typeof polite, HttpClient.HttpClient.With<HttpClientError.HttpClientError, never>>(true)
