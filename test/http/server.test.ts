import { assert, describe, it } from "@effect/vitest"
import { Data, Deferred, Duration, Effect, ErrorReporter, Fiber, Layer, Schema, Stream } from "effect"
import { HttpClient, HttpClientError, HttpClientResponse, HttpRouter, HttpServerResponse } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware
} from "effect/http-api"
import * as BreakerHttpApi from "../../src/http/HttpApi.ts"
import * as BreakerHttpServer from "../../src/http/HttpServer.ts"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import * as Registry from "../../src/Registry.ts"
import * as StorageHealth from "../../src/Storage/Health.ts"
import { StorageError } from "../../src/Storage/Storage.ts"
import { untilQuiet } from "../utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "30 seconds" } as const

class Search extends Breaker.Service<Search>()("search-server", { ...one, timeout: "1 second", maxConcurrent: 5 }) {}
class Tenants extends Breaker.KeyedService<Tenants>()("tenants-server", { maxConcurrent: 1 }) {}
const Breakers = Layer.mergeAll(Search.layer, Tenants.layer).pipe(Layer.provideMerge(Storage.MemoryStorageLive))

class Mine extends Data.TaggedError("Mine") {}

/** Serves routes without a socket. */
const serve = <E>(routes: Layer.Layer<never, E, any>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        HttpRouter.toWebHandler(Layer.provide(routes, Breakers) as Layer.Layer<never>, { disableLogger: true })
      ),
      ({ dispose }) => Effect.promise(dispose)
    ),
    ({ handler }) => (path: string, init?: RequestInit) =>
      Effect.promise((signal) => handler(new Request(`http://localhost${path}`, { signal, ...init })))
  )

const bodyOf = (response: Response) =>
  Effect.promise((): Promise<BreakerHttpServer.Problem> => response.json() as Promise<BreakerHttpServer.Problem>)

const open = new Breaker.BreakerOpenError({
  circuit: "db-7.internal",
  state: "Open",
  openedBy: "override",
  retryAfter: Duration.millis(1200),
  reason: "incident 4711",
  lastFailure: new Error("password=hunter2")
})
const full = new Breaker.BulkheadFullError({ circuit: "db-7.internal", maxConcurrent: 3 })
const late = new Breaker.BreakerTimeoutError({ circuit: "db-7.internal", timeout: Duration.seconds(1) })

describe("the answer to a breaker's error", () => {
  const table = [
    [open, {}, 503, "2", { title: "Service Unavailable", code: "circuit_open", retry_after: 2 }],
    [full, {}, 503, "1", { title: "Service Unavailable", code: "bulkhead_full", retry_after: 1 }],
    [full, { bulkheadFull: 429 }, 429, "1", { title: "Too Many Requests", code: "bulkhead_full", retry_after: 1 }],
    [late, {}, 504, null, { title: "Gateway Timeout", code: "timeout" }],
    [late, { circuit: true }, 504, null, { title: "Gateway Timeout", code: "timeout", circuit: "db-7.internal" }]
  ] as const
  for (const [error, options, status, retryAfter, body] of table) {
    it.effect(`${error._tag} with ${JSON.stringify(options)}: ${status}`, () =>
      Effect.gen(function*() {
        const response = HttpServerResponse.toWeb(BreakerHttpServer.toResponse(error, options))
        assert.strictEqual(response.status, status)
        assert.strictEqual(response.headers.get("retry-after"), retryAfter)
        assert.strictEqual(response.headers.get("content-type"), "application/problem+json")
        assert.deepStrictEqual(yield* bodyOf(response), { type: "about:blank", status, ...body })
      }))
  }

  it.effect("asks for at least a second, and for none where no time is known", () =>
    Effect.gen(function*() {
      const of = (retryAfter?: Duration.Duration) =>
        BreakerHttpServer.toResponse(
          new Breaker.BreakerOpenError({
            circuit: "x",
            state: "Open",
            openedBy: "fleet",
            ...(retryAfter === undefined ? {} : { retryAfter })
          })
        ).headers["retry-after"]
      assert.strictEqual(of(Duration.zero), "1")
      assert.strictEqual(of(Duration.millis(1)), "1")
      assert.isUndefined(of())
      yield* Effect.void
    }))
})

describe("the middleware for rejections", () => {
  it.effect("answers the errors of a route's calls", () =>
    Effect.gen(function*() {
      const routes = Layer.mergeAll(
        HttpRouter.add("GET", "/open", Effect.fail(open)),
        HttpRouter.add("GET", "/other", Effect.succeed(HttpServerResponse.text("fine")))
      ).pipe(Layer.provide(BreakerHttpServer.rejections({ circuit: true }).layer))
      const get = yield* serve(routes)
      const response = yield* get("/open")
      assert.strictEqual(response.status, 503)
      assert.strictEqual((yield* bodyOf(response)).circuit, "db-7.internal")
      assert.strictEqual((yield* get("/other")).status, 200)
    }))
})

describe("a guard of routes", () => {
  it.live("sheds load by a bulkhead for each tenant, and gives places back when clients go away", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const routes = HttpRouter.add("GET", "/slow", Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
        .pipe(
          Layer.provide(
            BreakerHttpServer.guard(Tenants, { key: ({ headers }) => headers["x-tenant"] ?? null, bulkheadFull: 429 })
              .layer
          )
        )
      const get = yield* serve(routes)
      const as = (tenant: string) => get("/slow", { headers: { "x-tenant": tenant } })
      const client = new AbortController()
      const first = yield* Effect.forkChild(
        Effect.exit(get("/slow", { headers: { "x-tenant": "a" }, signal: client.signal }))
      )
      yield* Deferred.await(started)
      const response = yield* as("a")
      assert.strictEqual(response.status, 429)
      assert.strictEqual(response.headers.get("retry-after"), "1")
      client.abort()
      yield* Fiber.join(first)
      yield* untilQuiet
      const again = yield* Effect.forkChild(as("a"))
      yield* untilQuiet
      assert.isUndefined(again.pollUnsafe())
      yield* Fiber.interrupt(again)
    }))

  it.effect("opens by responses of 5xx, and answers for the routes", () =>
    Effect.gen(function*() {
      let status = 404
      const routes = HttpRouter.add("GET", "/", Effect.sync(() => HttpServerResponse.empty({ status }))).pipe(
        Layer.provide(BreakerHttpServer.guard(Search).layer)
      )
      const get = yield* serve(routes)
      for (status of [404, 501, 200]) assert.strictEqual((yield* get("/")).status, status)
      status = 500
      assert.strictEqual((yield* get("/")).status, 500)
      const response = yield* get("/")
      assert.strictEqual(response.status, 503)
      assert.strictEqual((yield* bodyOf(response)).code, "circuit_open")
    }))

  it.effect("counts what a route fails or dies with as the answer that it becomes, and ignores inner rejections", () =>
    Effect.gen(function*() {
      class Guard extends Breaker.Service<Guard>()("guard-failures", { trip: Trip.consecutiveFailures(9) }) {}
      const routes = Layer.mergeAll(
        HttpRouter.add("GET", "/dies", Effect.die(new Error("bug"))),
        HttpRouter.add("GET", "/fails", Effect.fail("no")),
        HttpRouter.add("GET", "/rejected", Effect.fail(open)),
        HttpRouter.add("GET", "/answered", Effect.succeed(BreakerHttpServer.toResponse(open))),
        HttpRouter.add(
          "GET",
          "/dressed",
          Effect.succeed(
            BreakerHttpServer.toResponse(open).pipe(
              HttpServerResponse.setHeader("x-request-id", "7"),
              HttpServerResponse.setCookieUnsafe("seen", "1")
            )
          )
        )
      ).pipe(Layer.provide(BreakerHttpServer.guard(Guard).layer), Layer.provideMerge(Guard.layer))
      const snapshot = yield* Deferred.make<Breaker.Snapshot>()
      const told = HttpRouter.add(
        "GET",
        "/snapshot",
        Effect.gen(function*() {
          yield* Deferred.succeed(snapshot, yield* (yield* Guard).snapshot)
          return HttpServerResponse.empty()
        })
      ).pipe(Layer.provide(Guard.layer))
      const get = yield* serve(Layer.mergeAll(routes, told))
      for (const path of ["/dies", "/fails", "/rejected", "/answered", "/dressed"]) yield* get(path)
      yield* get("/snapshot")
      const { statistics } = yield* Deferred.await(snapshot)
      assert.strictEqual(statistics.failure, 2)
      assert.strictEqual(statistics.ignored, 3)
    }))
})

describe("HttpApi", () => {
  class UsersGuard
    extends HttpApiMiddleware.Service<UsersGuard>()("UsersGuard", { error: BreakerHttpApi.Rejections })
  {}
  class UsersClient extends HttpApiMiddleware.Service<UsersClient, { clientError: Breaker.BreakerOpenError }>()(
    "UsersClient",
    { requiredForClient: true }
  ) {}
  class Origins extends Breaker.KeyedService<Origins>()("api-client", one) {}
  const Api = HttpApi.make("api").add(
    HttpApiGroup.make("users").add(
      HttpApiEndpoint.get("list", "/users", { success: Schema.String, error: BreakerHttpApi.Rejections }),
      HttpApiEndpoint.get("dies", "/dies", { success: Schema.String })
    ).middleware(UsersGuard).middleware(UsersClient)
  )

  const served = (list: Effect.Effect<string, Breaker.BreakerError>) =>
    HttpApiBuilder.layer(Api).pipe(
      Layer.provide(HttpApiBuilder.group(Api, "users", (handlers) =>
        handlers.handle("list", () =>
          list).handle("dies", () =>
            Effect.die("bug")))),
      Layer.provide(BreakerHttpApi.layer(UsersGuard, Search)),
      // A middleware of the client has a server's side, too, which does nothing here.
      Layer.provide(Layer.succeed(UsersClient, (route) =>
        route))
    )

  for (const [error, status, retryAfter] of [[open, 503, "2"], [full, 503, "1"], [late, 504, null]] as const) {
    it.effect(`encodes ${error._tag} as a problem, without a secret`, () =>
      Effect.gen(function*() {
        const get = yield* serve(served(Effect.fail(error)))
        const response = yield* get("/users")
        assert.strictEqual(response.status, status)
        assert.strictEqual(response.headers.get("content-type"), "application/problem+json")
        assert.strictEqual(response.headers.get("retry-after"), retryAfter)
        const text = yield* Effect.promise(() => response.text())
        for (const secret of ["db-7", "4711", "hunter2"]) assert.notInclude(text, secret)
      }))
  }

  it.effect("a server's middleware runs endpoints through a breaker", () =>
    Effect.gen(function*() {
      const get = yield* serve(served(Effect.succeed("a")))
      assert.strictEqual((yield* get("/users")).status, 200)
      assert.strictEqual((yield* get("/dies")).status, 500)
      const response = yield* get("/users")
      assert.strictEqual(response.status, 503)
      assert.strictEqual((yield* bodyOf(response)).code, "circuit_open")
    }))

  it.effect("a client decodes a server's rejection, and has a circuit for each group", () =>
    Effect.gen(function*() {
      const get = yield* serve(served(Effect.fail(open)))
      let sent = 0
      const http = HttpClient.make((request, url) =>
        Effect.sync(() => sent++).pipe(
          Effect.andThen(get(url.pathname)),
          Effect.map((response) => HttpClientResponse.fromWeb(request, response))
        )
      )
      const list = HttpApiClient.make(Api, { baseUrl: "http://localhost" }).pipe(
        Effect.flatMap((client) => client.users.list()),
        Effect.flip
      )
      yield* Effect.gen(function*() {
        const error = yield* list
        assert.instanceOf(error, Breaker.BreakerOpenError)
        assert.strictEqual(Duration.toSeconds((error as Breaker.BreakerOpenError).retryAfter!), 2)
        const own = yield* list
        assert.strictEqual((own as Breaker.BreakerOpenError).circuit, "api-client/users")
        assert.strictEqual(sent, 1)
      }).pipe(
        Effect.provide(
          BreakerHttpApi.layerClient(UsersClient, Origins).pipe(
            Layer.provide(Origins.layer),
            Layer.provide(Storage.MemoryStorageLive)
          )
        ),
        Effect.provideService(HttpClient.HttpClient, http)
      )
    }))

  it.effect("errors of the transport pass through a client's middleware", () =>
    Effect.gen(function*() {
      const http = HttpClient.make((request) =>
        Effect.fail(new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request }) }))
      )
      const error = yield* HttpApiClient.make(Api, { baseUrl: "http://localhost" }).pipe(
        Effect.flatMap((client) => client.users.list()),
        Effect.flip,
        Effect.provide(
          BreakerHttpApi.layerClient(UsersClient, Origins, { key: "origin" }).pipe(
            Layer.provide(Origins.layer),
            Layer.provide(Storage.MemoryStorageLive)
          )
        ),
        Effect.provideService(HttpClient.HttpClient, http)
      )
      assert.strictEqual(error._tag, "HttpClientError")
    }))
})

describe("an error of a breaker that nobody handles", () => {
  for (
    const [error, status, code] of [
      [open, 503, "circuit_open"],
      [full, 503, "bulkhead_full"],
      [late, 504, "timeout"]
    ] as const
  ) {
    it.effect(`${error._tag} answers ${status} in any router, without a secret`, () =>
      Effect.gen(function*() {
        const get = yield* serve(HttpRouter.add("GET", "/", Effect.fail(error)))
        const response = yield* get("/")
        assert.strictEqual(response.status, status)
        assert.strictEqual(response.headers.get("content-type"), "application/problem+json")
        const text = yield* Effect.promise(() => response.text())
        assert.include(text, code)
        for (const secret of ["db-7", "4711", "hunter2"]) assert.notInclude(text, secret)
      }))

    it.effect(`${error._tag} is not reported`, () =>
      Effect.gen(function*() {
        const reported: Array<unknown> = []
        const reporter = ErrorReporter.make(({ error }) => {
          reported.push(error)
        })
        yield* Effect.fail(error).pipe(
          Effect.withErrorReporting,
          Effect.ignore,
          Effect.andThen(Effect.fail(new Mine()).pipe(Effect.withErrorReporting, Effect.ignore)),
          Effect.provide(ErrorReporter.layer([reporter]))
        )
        assert.strictEqual(reported.length, 1)
      }))
  }
})

describe("health routes", () => {
  class Orders extends Breaker.Service<Orders>()("orders-health", one) {}
  class Hosts extends Breaker.KeyedService<Hosts>()("hosts-health", one) {}

  const served = <E>(routes: Layer.Layer<never, E, any>) =>
    Effect.gen(function*() {
      const services = yield* Layer.build(
        Layer.mergeAll(Orders.layer, Hosts.layer).pipe(Layer.provideMerge(Storage.MemoryStorageLive))
      )
      const registry = yield* Registry.Registry
      const provided = routes.pipe(
        Layer.provide(Layer.succeedContext(services)),
        Layer.provide(Layer.succeed(Registry.Registry, registry))
      )
      const get = yield* serve(provided)
      const orders = yield* Effect.provideContext(Orders, services)
      const hosts = yield* Effect.provideContext(Hosts, services)
      return { get, hosts, orders }
    })
  const reportOf = (response: Response) =>
    Effect.promise((): Promise<BreakerHttpServer.HealthReport> =>
      response.json() as Promise<BreakerHttpServer.HealthReport>
    )

  it.effect("tell what is open, and never make an instance unready for it", () =>
    Effect.gen(function*() {
      const { get, hosts, orders } = yield* served(BreakerHttpServer.healthLayer())
      const well = yield* reportOf(yield* get("/health"))
      assert.deepStrictEqual(well, {
        status: "pass",
        enforcement: "enforce",
        circuits: [{ circuit: "orders-health", state: "closed", isolated: false, approach: 0 }],
        keyed: [{ name: "hosts-health", circuits: 0, open: 0 }]
      })
      yield* Effect.exit(orders.wrap(Effect.fail("no")))
      for (const key of ["a", "b"]) yield* Effect.exit(hosts.wrap(Effect.fail("no"), { key }))
      yield* hosts.wrap(Effect.void, { key: "c" })
      const response = yield* get("/health")
      assert.strictEqual(response.status, 200)
      const report = yield* reportOf(response)
      assert.strictEqual(report.status, "warn")
      assert.deepStrictEqual(report.keyed, [{ name: "hosts-health", circuits: 3, open: 2 }])
      assert.deepStrictEqual(
        report.circuits.map(({ circuit, retry_after, state }) => [circuit, state, retry_after]),
        [["hosts-health/a", "open", 30], ["hosts-health/b", "open", 30], ["orders-health", "open", 30]]
      )
      assert.deepStrictEqual(report.storage, { backend: "memory", status: "pass" })
      assert.strictEqual((yield* get("/ready")).status, 200)
    }).pipe(Effect.provide(Registry.layer)))

  it.effect("list no more than a hundred circuits of a keyed breaker", () =>
    Effect.gen(function*() {
      const { get, hosts } = yield* served(BreakerHttpServer.healthLayer({ health: "/healthz" }))
      for (let n = 0; n < 150; n++) yield* Effect.exit(hosts.wrap(Effect.fail("no"), { key: `k${n}` }))
      const report = yield* reportOf(yield* get("/healthz"))
      assert.deepStrictEqual(report.keyed, [{ name: "hosts-health", circuits: 150, open: 150 }])
      assert.strictEqual(report.circuits.length, 101)
    }).pipe(Effect.provide(Registry.layer)))

  it.effect("name an operator's override, and what enforcement is off for", () =>
    Effect.gen(function*() {
      const { orders } = yield* served(BreakerHttpServer.healthLayer())
      const stateOf = Effect.map(BreakerHttpServer.healthReport, ({ circuits }) => circuits[0]?.state)
      for (
        const [mode, state] of [
          ["ForcedOpen", "forced_open"],
          ["Disabled", "disabled"],
          ["MetricsOnly", "metrics_only"]
        ] as const
      ) {
        yield* orders.override({ mode, reason: "a drill", actor: "me" })
        assert.strictEqual(yield* stateOf, state)
      }
      yield* orders.clearOverride({ actor: "me" })
      assert.strictEqual(yield* Breaker.bypass(stateOf), "disabled")
      assert.strictEqual(yield* stateOf, "closed")
    }).pipe(Effect.provide(Registry.layer)))

  it.effect("name a circuit whose policy is metricsOnly, and warn of nothing because of it", () =>
    Effect.gen(function*() {
      const shadow = yield* Breaker.make("shadow-health", {
        trip: Trip.consecutiveFailures(1),
        enforcement: "metricsOnly"
      })
      yield* shadow.forceHalfOpen
      const { circuits, status } = yield* BreakerHttpServer.healthReport
      assert.deepStrictEqual([status, circuits[0]?.state], ["pass", "metrics_only"])
      yield* shadow.override({ mode: "ForcedOpen", reason: "a drill", actor: "me" })
      const forced = yield* BreakerHttpServer.healthReport
      assert.deepStrictEqual([forced.status, forced.circuits[0]?.state], ["warn", "forced_open"])
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive), Effect.provide(Registry.layer)))

  it.effect("answer 503 on /ready only where the storage is required and does not answer", () =>
    Effect.gen(function*() {
      const broken = Layer.succeed(StorageHealth.Monitor, {
        current: Effect.succeed({
          backend: "redis",
          healthy: false,
          verified: false,
          latency: Duration.millis(7),
          at: 0
        }),
        changes: Stream.empty,
        ready: Effect.fail(new StorageError({ operation: "sync", reason: "Unavailable", cause: "down" }))
      })
      const { get } = yield* served(
        BreakerHttpServer.healthLayer({ storage: "required" }).pipe(Layer.provide(broken))
      )
      assert.strictEqual((yield* get("/ready")).status, 503)
      const report = yield* reportOf(yield* get("/health"))
      assert.strictEqual(report.status, "fail")
      assert.deepStrictEqual(report.storage, { backend: "redis", status: "fail", latency_ms: 7 })
    }).pipe(Effect.provide(Registry.layer)))
})
