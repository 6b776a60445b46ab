// @effect-diagnostics floatingEffect:off missingEffectContext:off missingEffectError:off missingLayerContext:off
/** What adopters want to write around a call: HTTP clients and servers, permits, streams. */
import { Context, type Duration, Effect, Layer, Option, Queue, Schedule, Schema, type Scope, Stream } from "effect"
import {
  FetchHttpClient,
  HttpClient,
  type HttpClientError,
  HttpRouter,
  HttpServerRespondable,
  HttpServerResponse
} from "effect/http"
import type { HttpClientResponse } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware
} from "effect/http-api"
import * as BreakerHttpApi from "../../src/http/HttpApi.ts"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import * as BreakerHttpServer from "../../src/http/HttpServer.ts"
import { Breaker, type Storage, Trip } from "../../src/index.ts"
import * as Registry from "../../src/Registry.ts"
import * as StorageHealth from "../../src/Storage/Health.ts"
import type { StorageError } from "../../src/Storage/Storage.ts"

type Eq<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
const eq = <X, Y>(_: Eq<X, Y>) => {}

class Payments
  extends Breaker.Service<Payments>()("payments", { trip: Trip.consecutiveFailures(5), timeout: "2 seconds" })
{}
class Search extends Breaker.Service<Search>()("search", { maxConcurrent: 50 }) {}
class Mail extends Breaker.Service<Mail>()("mail", { timeout: Breaker.unset<Duration.Input>() }) {}
class Origins extends Breaker.KeyedService<Origins>()("http", { capacity: 1000, openFor: "30 seconds" }) {}
class Ledger extends Breaker.Service<Ledger>()("ledger", { consistency: "strict", onStorageError: "fail" }) {}

// ---------------------------------------------------------------------------------------------------------------------
// 1 HTTP client
// ---------------------------------------------------------------------------------------------------------------------

// a circuit per origin, with the error in the type, outside of the retries: one outcome per call
const perOrigin = Effect.gen(function*() {
  const client = (yield* HttpClient.HttpClient).pipe(
    HttpClient.retryTransient({ times: 2, schedule: Schedule.exponential("100 millis") }),
    BreakerHttpClient.withBreaker(Origins)
  )
  return yield* client.get("https://api.test/users")
})
eq<
  typeof perOrigin,
  Effect.Effect<
    HttpClientResponse.HttpClientResponse,
    HttpClientError.HttpClientError | Breaker.BreakerOpenError,
    HttpClient.HttpClient | Origins
  >
>(
  true
)

// one circuit by name for a client, with exceptions to the table, bodies that count, and a fallback
const payments = Effect.gen(function*() {
  const client = (yield* HttpClient.HttpClient).pipe(
    BreakerHttpClient.withBreaker(Payments, {
      statuses: (status, request) =>
        status === 429 ? "Failure" : status === 404 && request.method === "POST" ? "Failure" : undefined,
      bodies: "end",
      bodyIdleTimeout: "10 seconds"
    })
  )
  return yield* client.post("https://payments.test/charges").pipe(
    Effect.map((response) => response.status),
    Effect.catchTag("BreakerOpenError", () => Effect.succeed(202))
  )
})
eq<Effect.Error<typeof payments>, HttpClientError.HttpClientError | Breaker.BreakerTimeoutError>(true)

// by tenant; the health endpoint has none; a breaker in hand needs no service
const byTenant = Effect.gen(function*() {
  const hosts = yield* Breaker.makeKeyed("tenants", { trip: Trip.consecutiveFailures(3) })
  const client = BreakerHttpClient.withBreaker(yield* HttpClient.HttpClient, hosts, {
    key: (request) => request.url.endsWith("/health") ? null : request.headers["x-tenant"] ?? null
  })
  return yield* client.get("https://api.test/data")
})
eq<Effect.Services<typeof byTenant>, HttpClient.HttpClient | Storage.Storage | Scope.Scope>(true)

// for all of a program, libraries included: the errors stay HttpClientErrors, and the rejection is found in them
const HttpLive = BreakerHttpClient.layer(Origins, { rejectAs: "TransportError" }).pipe(
  Layer.provide([FetchHttpClient.layer, Origins.layer])
)
eq<typeof HttpLive, Layer.Layer<HttpClient.HttpClient, never, Storage.Storage>>(true)
const someLibrary = HttpClient.get("https://api.test/users").pipe(
  BreakerHttpClient.catchRejection((error) => Effect.succeed(`cached, because ${error.circuit} is open`)),
  Effect.provide(HttpLive)
)
eq<Effect.Error<typeof someLibrary>, HttpClientError.HttpClientError>(true)
const patient = HttpClient.HttpClient.use((client) =>
  client.pipe(BreakerHttpClient.retryTransient({ times: 3, schedule: Schedule.exponential("100 millis") })).get(
    "https://api.test/users"
  )
)
const circuitOf = (error: HttpClientError.HttpClientError) =>
  Option.match(BreakerHttpClient.rejectionOf(error), { onNone: () => "no rejection", onSome: ({ circuit }) => circuit })

// off unless asked for; per request: on, another circuit, none
const optIn = BreakerHttpClient.layer(Origins, { enabled: false })
const asked = HttpClient.get("https://api.test/users").pipe(
  BreakerHttpClient.withRequestOptions({ enabled: true, key: "users" })
)
const health = HttpClient.get("https://api.test/health").pipe(Breaker.bypass)
eq<Effect.Error<typeof health>, HttpClientError.HttpClientError>(true)

// it starts in shadow: nothing is rejected, and what would have been is told, from the first call of each new origin on
class Shadow extends Breaker.KeyedService<Shadow>()("shadow", { enforcement: "metricsOnly" }) {}
const shadowed = BreakerHttpClient.layer(Shadow)

// @ts-expect-error what a client fails with is in its type: a client with a breaker is not a plain HttpClient
const plain: HttpClient.HttpClient = BreakerHttpClient.withBreaker(null as unknown as HttpClient.HttpClient, Origins)
// @ts-expect-error one circuit has no key
BreakerHttpClient.withBreaker(Payments, { key: "origin" })
// @ts-expect-error "body" is no moment
BreakerHttpClient.layer(Origins, { bodies: "body" })

// ---------------------------------------------------------------------------------------------------------------------
// 2 two steps, and streams
// ---------------------------------------------------------------------------------------------------------------------

// a consumer takes no message before there is leave to handle it, and acknowledges it somewhere else
declare const queue: Queue.Dequeue<{ readonly id: string; readonly done: (ok: boolean) => Effect.Effect<void> }>
declare const handled: (id: string) => Effect.Effect<boolean, "broken">
const consumer = Effect.gen(function*() {
  const permit = yield* Mail.awaitPermit
  const message = yield* Queue.take(queue)
  const exit = yield* Effect.exit(handled(message.id))
  yield* permit.settleExit(exit)
  yield* message.done(exit._tag === "Success")
}).pipe(Effect.scoped, Effect.forever)
eq<Effect.Error<typeof consumer>, never>(true)
eq<Effect.Services<typeof consumer>, Mail>(true)

// a driver with callbacks: taken here, settled there; not settled is ignored
declare const driver: { readonly send: (done: (error?: Error) => void) => void }
const send = Effect.scoped(Effect.gen(function*() {
  const permit = yield* Payments.permit
  return yield* Effect.callback<void, Error>((resume) =>
    driver.send((error) =>
      resume(
        Effect.andThen(
          permit.settle(error === undefined ? { _tag: "Success" } : { _tag: "Failure" }),
          error === undefined ? Effect.void : Effect.fail(error)
        )
      )
    )
  )
}))
eq<Effect.Error<typeof send>, Breaker.BreakerOpenError | Error>(true) // no BreakerTimeoutError: there is nothing to interrupt

// a stream: one outcome at its end, and a provider that dies in the middle counts
declare const tokens: Stream.Stream<string, "broken pipe">
const chat = tokens.pipe(Search.wrapStream)
eq<typeof chat, Stream.Stream<string, "broken pipe" | Breaker.BreakerOpenError | Breaker.BulkheadFullError, Search>>(
  true
)
const idle = tokens.pipe(Search.wrapStreamWith({ idleTimeout: "15 seconds" }))
eq<Stream.Error<typeof idle>, "broken pipe" | Breaker.BreakerError>(true)
const feed = tokens.pipe(Origins.wrapStream({ key: "feed" }), Stream.retry(Schedule.spaced("1 second")))

// @ts-expect-error a permit lives in a scope
void Effect.runPromise(Payments.permit.pipe(Effect.provide(Payments.layerTest())))
// @ts-expect-error an outcome is no boolean
const settled = Effect.flatMap(Payments.permit, (permit) => permit.settle(true))
// @ts-expect-error without idleTimeout nothing times out: this stream cannot fail with BreakerTimeoutError
Stream.catchTag(tokens.pipe(Search.wrapStream), "BreakerTimeoutError", () => Stream.empty)

// ---------------------------------------------------------------------------------------------------------------------
// 3 HTTP server
// ---------------------------------------------------------------------------------------------------------------------

// a middleware answers the rejections of a route's calls, and its errors are gone from the layer
declare const orders: Effect.Effect<ReadonlyArray<string>>
const route = HttpRouter.add(
  "GET",
  "/orders",
  orders.pipe(Search.wrap, Effect.map((rows) => HttpServerResponse.jsonUnsafe(rows)))
)
const answered = route.pipe(Layer.provide(BreakerHttpServer.rejections({ circuit: true }).layer))
type ErrorsOf<L extends Layer.Layer<never, any, any>> = HttpRouter.Request.Only<"Error", Layer.Services<L>>
eq<ErrorsOf<typeof route>, Breaker.BreakerOpenError | Breaker.BulkheadFullError>(true)
eq<ErrorsOf<typeof answered>, never>(true)

// nobody handled it: it answers all the same
const forgotten = HttpServerRespondable.toResponse(
  new Breaker.BreakerOpenError({ circuit: "x", state: "Open", openedBy: "fleet" })
)
const byHand = orders.pipe(
  Search.wrap,
  Effect.map((rows) => HttpServerResponse.jsonUnsafe(rows)),
  Effect.catchIf(Breaker.isRejection, (error) => Effect.succeed(BreakerHttpServer.toResponse(error)))
)

// sheds load by a bulkhead, per tenant
class Tenants extends Breaker.KeyedService<Tenants>()("tenants", { maxConcurrent: 20, capacity: 10_000 }) {}
const guarded = route.pipe(
  Layer.provide(
    BreakerHttpServer.guard(Tenants, { key: (request) => request.headers["x-tenant"] ?? null, bulkheadFull: 429 }).layer
  )
)
// @ts-expect-error a guard with keys must be told which
BreakerHttpServer.guard(Tenants)
// @ts-expect-error 418 says nothing that a client could act on
BreakerHttpServer.toResponse(new Breaker.BulkheadFullError({ circuit: "x", maxConcurrent: 1 }), { bulkheadFull: 418 })

// HttpApi: an endpoint that may be rejected, and a client whose methods say so
class UsersClient
  extends HttpApiMiddleware.Service<UsersClient, { clientError: Breaker.BreakerOpenError }>()("UsersClient", {
    requiredForClient: true
  })
{}
class UsersGuard extends HttpApiMiddleware.Service<UsersGuard>()("UsersGuard", { error: BreakerHttpApi.Rejections }) {}
const Users = HttpApiGroup.make("users").add(
  HttpApiEndpoint.get("list", "/users", { success: Schema.Array(Schema.String), error: BreakerHttpApi.Rejections })
).middleware(UsersClient).middleware(UsersGuard)
const Api = HttpApi.make("api").add(Users)
const usersClient = HttpApiClient.make(Api, { baseUrl: "https://api.test" }).pipe(
  Effect.flatMap((client) => client.users.list())
)
const ok: Breaker.BreakerOpenError extends Effect.Error<typeof usersClient> ? true : false = true
const usersClientLive = BreakerHttpApi.layerClient(UsersClient, Origins, { key: "group" })
const usersGuardLive = BreakerHttpApi.layer(UsersGuard, Search)
const usersHandlers = HttpApiBuilder.group(
  Api,
  "users",
  (handlers) => handlers.handle("list", () => orders.pipe(Payments.wrap))
)
// @ts-expect-error Payments can time out, and this client's type does not say so
BreakerHttpApi.layerClient(UsersClient, Payments)

// /health and /ready: an open circuit never makes an instance unready
const healthRoutes = BreakerHttpServer.healthLayer()
const strictReady = BreakerHttpServer.healthLayer({ storage: "required" }).pipe(
  Layer.provide(StorageHealth.layer({ every: "10 seconds" }))
)
eq<typeof healthRoutes, Layer.Layer<never, never, HttpRouter.HttpRouter>>(true)
// @ts-expect-error "required" needs a monitor
const noMonitor: Layer.Layer<never, never, HttpRouter.HttpRouter> = BreakerHttpServer.healthLayer({
  storage: "required"
})

// ---------------------------------------------------------------------------------------------------------------------
// registry
// ---------------------------------------------------------------------------------------------------------------------

class Pager extends Context.Service<Pager, { readonly page: (text: string) => Effect.Effect<void> }>()("Pager") {}
const warn = Registry.onEvent((event) =>
  event._tag === "Transition" ? Pager.use((pager) => pager.page(`${event.circuit}: ${event.reason}`)) : Effect.void
)
eq<typeof warn, Layer.Layer<never, never, Pager>>(true)
const forced = Registry.find("payments").pipe(
  Effect.flatMap(Option.match({ onNone: () => Effect.void, onSome: (breaker) => breaker.forceHalfOpen }))
)
eq<Effect.Error<typeof forced>, StorageError>(true)
// @ts-expect-error whose errors it cannot know, it cannot promise: a found breaker is no Payments
const typed: Effect.Effect<Option.Option<Breaker.Breaker<Breaker.BreakerOpenError>>> = Registry.find("payments")

// ---------------------------------------------------------------------------------------------------------------------
// shadow start
// ---------------------------------------------------------------------------------------------------------------------

class Wrong2 extends Breaker.Service<Wrong2>()("wrong2", {
  // @ts-expect-error ForcedOpen is an operator's word, no policy
  enforcement: "ForcedOpen"
}) {}
