/**
 * Serves the metrics of all breakers for Prometheus, and prints what a scraper gets of one circuit that opened. An OTLP exporter
 * takes the place of the route by `Otlp.layerJson`, and needs nothing else.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { HttpClient, HttpRouter } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { Breaker, Storage, Trip } from "../src/index.ts"
import * as BreakerMetrics from "../src/observability/BreakerMetrics.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(2),
  openFor: "1 minute"
}) {}

class Hosts extends Breaker.KeyedService<Hosts>()("hosts", { capacity: 1000 }) {}

/** Once for the process, beside the breakers. Of a keyed breaker, the three keys that are worst get series of their own. */
const Metrics = BreakerMetrics.layer({ errors: true, keyed: { top: 3 }, attributes: { team: "shop" } })

/** The names with `_total` and `_seconds`, as the dashboard and the alert rules of the package expect them. */
const Route = PrometheusMetrics.layerHttp({ metricNameMapper: BreakerMetrics.prometheusName })

class Declined extends Error {
  readonly _tag = "Declined"
}

const traffic = Effect.gen(function*() {
  yield* Payments.wrap(Effect.succeed("charged"))
  yield* Effect.replicateEffect(Effect.ignore(Payments.wrap(Effect.fail(new Declined()))), 3)
  for (const key of ["a.example", "b.example"]) yield* Hosts.wrap(Effect.void, { key })
})

const program = Effect.gen(function*() {
  yield* traffic
  const response = yield* HttpClient.get("/metrics")
  const lines = (yield* response.text).split("\n")
  yield* Console.log(response.headers["content-type"])
  for (const name of ["state", "calls", "rejections", "failures"]) {
    const series = lines.filter((line) => line.startsWith(`circuit_breaker_${name}`) && !line.endsWith(" 0"))
    yield* Effect.forEach(series, (line) => Console.log(line), { discard: true })
  }
})

const layers = HttpRouter.serve(Route, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.merge(Layer.mergeAll(Payments.layer, Hosts.layer, Metrics).pipe(Layer.provide(Storage.MemoryStorageLive)))
)

await program.pipe(Effect.provide(layers), Effect.runPromise)
