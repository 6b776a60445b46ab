/** The routes of the gateway. */
import { Effect, Schema } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import type { HttpClientError } from "effect/http"
import type { Breaker } from "../../src/index.ts"
import { Journal } from "./Journal.ts"
import { AnswerLog, report, toJson } from "./Report.ts"
import { retryAfterSeconds, Shop } from "./Shop.ts"
import { inWords, Mode, Upstream } from "./Upstream.ts"

export const Routes = HttpRouter.use((router) =>
  Effect.gen(function*() {
    const shop = yield* Shop
    const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
    yield* router.add("GET", "/", HttpServerResponse.text(`${curls(url).join("\n")}\n`))
    yield* router.add("GET", "/orders", yield* answering("orders", shop.orders))
    yield* router.add("GET", "/search", yield* answering("search", shop.search))
    yield* router.add("GET", "/circuits", yield* circuitsAsJson)
    yield* router.add("POST", "/upstream/:mode", yield* changingUpstream)
  })
)

/** The commands that make a circuit open and close. */
export const curls = (url: string): ReadonlyArray<string> => [
  `Break it:  curl -X POST ${url}/upstream/failing`,
  `           curl -X POST ${url}/upstream/slow`,
  `           curl -X POST ${url}/upstream/dead`,
  `Heal it:   curl -X POST ${url}/upstream/healthy`,
  `Call it:   curl -i ${url}/orders`,
  `Read it:   curl ${url}/circuits`
]

/** A handler that turns any result of a call to the upstream into a response, and records how long it took. */
const answering = Effect.fnUntraced(function*(circuit: string, call: Effect.Effect<string, CallError>) {
  const log = yield* AnswerLog
  return call.pipe(
    Effect.map((body) => HttpServerResponse.text(`${body}\n`, { contentType: "application/json" })),
    Effect.catch((error) => Effect.succeed(responseFor(error))),
    Effect.timed,
    Effect.tap(([took, response]) => log.add(circuit, response.status, took)),
    Effect.map(([, response]) => response)
  )
})

type CallError = HttpClientError.HttpClientError | Breaker.BreakerError

const responseFor = (error: CallError) => {
  switch (error._tag) {
    case "BreakerOpenError": {
      const seconds = retryAfterSeconds(error.retryAfter)
      const { circuit, message, state } = error
      return refusal(503, seconds, { error: message, circuit, state, retryAfterSeconds: seconds })
    }
    case "BulkheadFullError":
      return refusal(503, 1, { error: error.message, circuit: error.circuit, retryAfterSeconds: 1 })
    case "BreakerTimeoutError":
      return json(504, { error: error.message, circuit: error.circuit })
    case "HttpClientError":
      // Its message has the upstream's URL, which is none of the client's business.
      return json(502, { error: "the upstream failed" })
  }
}

const refusal = (status: number, seconds: number, body: object) =>
  HttpServerResponse.setHeader(json(status, body), "retry-after", String(seconds))

const json = (status: number, body: object) =>
  HttpServerResponse.text(`${JSON.stringify(body, null, 2)}\n`, { status, contentType: "application/json" })

const circuitsAsJson = Effect.map(
  Effect.context<Effect.Services<typeof report>>(),
  (context) => report.pipe(Effect.map((report) => json(200, toJson(report))), Effect.provideContext(context))
)

const changingUpstream = Effect.gen(function*() {
  const upstream = yield* Upstream
  const journal = yield* Journal
  return HttpRouter.schemaPathParams(Schema.Struct({ mode: Mode })).pipe(
    Effect.tap(({ mode }) => upstream.become(mode)),
    Effect.tap(({ mode }) => journal.note(`The upstream is now ${inWords[mode]}`)),
    Effect.map(({ mode }) => HttpServerResponse.text(`The upstream is now ${inWords[mode]}.\n`)),
    Effect.catchTag("SchemaError", () =>
      Effect.succeed(
        HttpServerResponse.text(`No such state. There are: ${Mode.literals.join(", ")}.\n`, { status: 404 })
      ))
  )
})
