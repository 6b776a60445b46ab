/** The gateway's calls to the upstream, each through a circuit of its own. */
import { Context, Duration, Effect, Layer } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import type { HttpClientError } from "effect/http"
import { Breaker, Trip } from "../../src/index.ts"
import { Upstream } from "./Upstream.ts"

export class Orders extends Breaker.Service<Orders>()("orders", {
  trip: Trip.failureRate({ threshold: 0.5, within: "5 seconds", minimumCalls: 8 }),
  openFor: "10 seconds",
  timeout: "1 second"
}) {}

export class Search extends Breaker.Service<Search>()("search", {
  trip: Trip.any(
    Trip.slowCallRate({ threshold: 0.5, slowerThan: "500 millis", lastCalls: 10 }),
    Trip.consecutiveFailures(5)
  ),
  openFor: "10 seconds",
  maxConcurrent: 20
}) {}

/** The evidence of each policy, and how near it is to opening, for the screen. */
export const readings: Record<string, (snapshot: Breaker.Snapshot) => string> = {
  orders: ({ windows: [window] }) => `${share(window?.failureRate, window)} failed or timed out, opens at 50 %`,
  search: ({ statistics, windows: [window] }) =>
    `${share(window?.slowCallRate, window)} slow, opens at 50 %; `
    + `${statistics.consecutiveFailures} failed in a row, opens at 5`
}

const share = (rate: number | undefined, window: Breaker.WindowSnapshot | undefined): string =>
  `${Math.round((rate ?? 0) * 100)} % of ${window?.calls ?? 0} calls`

export class Shop extends Context.Service<Shop, {
  readonly orders: Effect.Effect<
    string,
    HttpClientError.HttpClientError | Breaker.BreakerOpenError | Breaker.BreakerTimeoutError
  >
  readonly search: Effect.Effect<
    string,
    HttpClientError.HttpClientError | Breaker.BreakerOpenError | Breaker.BulkheadFullError
  >
}>()("gateway/Shop") {
  static readonly layer = Layer.effect(
    Shop,
    Effect.gen(function*() {
      const { url } = yield* Upstream
      const orders = yield* Orders
      const search = yield* Search
      // The status is checked inside the breaker: for HTTP a 500 is an answer, for the circuit it is a failure.
      const client = (yield* HttpClient.HttpClient).pipe(
        HttpClient.mapRequest(HttpClientRequest.prependUrl(url)),
        HttpClient.filterStatusOk
      )
      const get = (path: string) => Effect.flatMap(client.get(path), (response) => response.text)
      return Shop.of({
        orders: get("/orders").pipe(orders.wrap),
        search: get("/search").pipe(search.wrap)
      })
    })
  )
}

/**
 * For a `Retry-After` header: whole seconds, rounded up, and at least 1, because with 0 all callers would retry at
 * once.
 */
export const retryAfterSeconds = (retryAfter: Duration.Duration | undefined): number =>
  Math.max(1, Math.ceil(Duration.toSeconds(retryAfter ?? Duration.zero)))
