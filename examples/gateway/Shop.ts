/** The gateway's calls to the upstream, each through a circuit of its own. */
import { Context, Effect, Layer } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Trip } from "../../src/index.ts"
import { Upstream } from "./Upstream.ts"

/** The limit of the whole gateway. It never opens, because no answer counts. */
export class Load extends Breaker.Service<Load>()("load", { maxConcurrent: 100 }) {}

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

/** Refuses a share of the calls where its dependency takes too few of them, and opens only where nearly all fail. */
export class Offers extends Breaker.Service<Offers>()("offers", {
  trip: Trip.failureRate({ threshold: 0.9, within: "5 seconds", minimumCalls: 8 }),
  throttle: { k: 1.25, within: "10 seconds" },
  openFor: "10 seconds",
  timeout: "1 second"
}) {}

/** The evidence of each policy, and how near it is to opening, for the screen. */
export const readings: Record<string, (snapshot: Breaker.Snapshot) => string> = {
  orders: ({ windows: [window] }) => `${share(window?.failureRate, window)} failed or timed out, opens at 50 %`,
  search: ({ statistics, windows: [window] }) =>
    `${share(window?.slowCallRate, window)} slow, opens at 50 %; `
    + `${statistics.consecutiveFailures} failed in a row, opens at 5`,
  offers: ({ windows: [window] }) => `${share(window?.failureRate, window)} failed or timed out, opens at 90 %`
}

const share = (rate: number | undefined, window: Breaker.WindowSnapshot | undefined): string =>
  `${percent(rate ?? 0)} of ${window?.calls ?? 0} calls`

export const percent = (share: number): string => `${Math.round(share * 100)} %`

/** Calls to the upstream. A status of 500 or more counts as a failure of its circuit, and then fails the call. */
export class Shop extends Context.Service<Shop, Effect.Success<typeof makeShop>>()("gateway/Shop") {
  static readonly layer = Layer.effect(Shop, Effect.suspend(() => makeShop))
}

const makeShop = Effect.gen(function*() {
  const { url } = yield* Upstream
  const upstream = HttpClient.mapRequest(yield* HttpClient.HttpClient, HttpClientRequest.prependUrl(url))
  const get = <E>(client: HttpClient.HttpClient.With<E>, path: string) =>
    Effect.flatMap(HttpClient.filterStatusOk(client).get(path), ({ text }) => text)
  return {
    orders: get(BreakerHttpClient.withBreaker(upstream, yield* Orders), "/orders"),
    search: get(BreakerHttpClient.withBreaker(upstream, yield* Search), "/search"),
    offers: get(BreakerHttpClient.withBreaker(upstream, yield* Offers), "/offers")
  }
})
