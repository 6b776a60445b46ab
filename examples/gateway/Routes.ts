/** The routes of the gateway. */
import { Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { HttpClientError } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import * as BreakerHttpServer from "../../src/http/HttpServer.ts"
import type { Breaker } from "../../src/index.ts"
import * as BreakerMetrics from "../../src/observability/BreakerMetrics.ts"
import { Journal } from "./Journal.ts"
import { AnswerLog } from "./Report.ts"
import { Load, Shop } from "./Shop.ts"
import { inWords, Mode, Upstream } from "./Upstream.ts"

/** The commands that make a circuit open and close. */
export const curls = (url: string): ReadonlyArray<string> => [
  `Break it:  curl -X POST ${url}/upstream/failing`,
  `           or /upstream/slow, /upstream/dead`,
  `Overload:  curl -X POST ${url}/upstream/half`,
  `Heal it:   curl -X POST ${url}/upstream/healthy`,
  `Call it:   curl -i ${url}/orders`,
  `See it:    ${url}/circuits in a browser`,
  `Read it:   curl ${url}/health, or /metrics`
]

// -----------------------------------------------------------------------------
// the routes to the upstream
// -----------------------------------------------------------------------------

const text = (body: string, status = 200) => HttpServerResponse.text(`${body}\n`, { status })

/** The error's message has the upstream's URL, which is none of the client's business. */
const answer = <E extends Breaker.BreakerError>(call: Effect.Effect<string, E | HttpClientError.HttpClientError>) =>
  Effect.matchEffect(call, {
    onSuccess: (body) => Effect.succeed(HttpServerResponse.text(`${body}\n`, { contentType: "application/json" })),
    onFailure: (error) =>
      error._tag === "HttpClientError" ? Effect.succeed(text("The upstream failed.", 502)) : Effect.fail(error)
  })

const recorded = HttpRouter.middleware(
  Effect.map(
    AnswerLog,
    ({ add }) => (route) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) =>
        Effect.timed(route).pipe(
          Effect.tap(([took, response]) => add(url.slice(1), response.status, took)),
          Effect.map(([, response]) => response)
        ))
  )
)
const limited = BreakerHttpServer.guard(Load, { statuses: () => "Ignored" })
const answered = BreakerHttpServer.rejections({ circuit: true })

const Calls = HttpRouter.use((router) =>
  Effect.gen(function*() {
    const shop = yield* Shop
    yield* router.add("GET", "/orders", answer(shop.orders))
    yield* router.add("GET", "/search", answer(shop.search))
    yield* router.add("GET", "/offers", answer(shop.offers))
  })
).pipe(Layer.provide(answered.combine(limited).combine(recorded).layer))

// -----------------------------------------------------------------------------
// the routes of the demo
// -----------------------------------------------------------------------------

const Demo = HttpRouter.use((router) =>
  Effect.gen(function*() {
    const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
    const upstream = yield* Upstream
    const { note } = yield* Journal
    yield* router.add("GET", "/", text(curls(url).join("\n")))
    yield* router.add(
      "POST",
      "/upstream/:mode",
      HttpRouter.schemaPathParams(Schema.Struct({ mode: Mode })).pipe(
        Effect.tap(({ mode }) => upstream.become(mode)),
        Effect.tap(({ mode }) => note(`The upstream is now ${inWords[mode]}`)),
        Effect.map(({ mode }) => text(`The upstream is now ${inWords[mode]}.`)),
        Effect.catchTag("SchemaError", () =>
          Effect.succeed(text(`No such state. There are: ${Mode.literals.join(", ")}.`, 404)))
      )
    )
  })
)

const Metrics = PrometheusMetrics.layerHttp({ metricNameMapper: BreakerMetrics.prometheusName })

/** The demo is for this machine alone, so that no secret is needed to act on its circuits. */
const Circuits = Dashboard.layerWith({
  title: "Circuits of the gateway",
  authorize: () => Effect.succeed({ actor: "demo", may: "act" })
})

export const Routes = Layer.mergeAll(Calls, Demo, Metrics, Circuits, BreakerHttpServer.healthLayer())
