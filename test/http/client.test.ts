import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Option, Schedule } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { TestClock } from "effect/testing"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Outcome, Storage, Trip } from "../../src/index.ts"
import { make, makeKeyed } from "../utils.ts"
import { clientOf, transportError } from "./support.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "60 seconds" } as const

const sick = clientOf(() => ({ status: 503 }))

describe("withBreaker", () => {
  it.effect("has a circuit for each origin", () =>
    Effect.gen(function*() {
      const { client, sent } = yield* clientOf(({ url }) => ({ status: url.startsWith("https://sick") ? 500 : 200 }))
      const guarded = client.pipe(BreakerHttpClient.withBreaker(yield* makeKeyed("origins", one)))
      assert.strictEqual((yield* guarded.get("https://sick.test/a")).status, 500)
      const error = yield* Effect.flip(guarded.get("https://SICK.test:443/b?c#d"))
      assert.instanceOf(error, Breaker.BreakerOpenError)
      assert.strictEqual(error.circuit, "origins/https://sick.test")
      assert.strictEqual((yield* guarded.get("https://well.test/a")).status, 200)
      assert.strictEqual((yield* guarded.get("http://sick.test/a")).status, 200)
      assert.strictEqual(yield* sent, 3)
    }))

  it.effect("takes a key by a function, and null and an empty key for none", () =>
    Effect.gen(function*() {
      const { client, sent } = yield* sick
      const keyed = yield* makeKeyed("tenants", one)
      const guarded = BreakerHttpClient.withBreaker(client, keyed, {
        key: ({ headers }) => headers["x-tenant"] ?? null
      })
      const as = (tenant: string) => guarded.get("https://api.test", { headers: { "x-tenant": tenant } })
      yield* as("a")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(as("a"))))
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(as("b"))))
      for (let n = 0; n < 3; n++) {
        yield* guarded.get("https://api.test")
        yield* as("")
      }
      assert.strictEqual(yield* sent, 8)
      assert.strictEqual(yield* keyed.size, 2)
    }))

  it.effect("guards a client by one circuit", () =>
    Effect.gen(function*() {
      const { client, sent } = yield* sick
      const guarded = BreakerHttpClient.withBreaker(client, yield* make("one", one))
      yield* guarded.get("https://a.test")
      assert.instanceOf(yield* Effect.flip(guarded.get("https://b.test")), Breaker.BreakerOpenError)
      assert.strictEqual(yield* sent, 1)
    }))

  it.effect("leaves a request alone whose URL is invalid or has no origin", () =>
    Effect.gen(function*() {
      const { client } = yield* clientOf(() => ({}))
      const keyed = yield* makeKeyed("invalid", one)
      const guarded = BreakerHttpClient.withBreaker(client, keyed)
      for (const url of ["http://[::1", "no url", "https://", "http://a b"]) {
        const error = yield* Effect.flip(guarded.get(url))
        assert.strictEqual(error._tag === "HttpClientError" && error.reason._tag, "InvalidUrlError", url)
      }
      assert.strictEqual((yield* guarded.get("data:text/plain,a")).status, 200)
      assert.strictEqual(yield* keyed.size, 0)
    }))

  it.effect("a key function that throws is a defect of its request, and counts nowhere", () =>
    Effect.gen(function*() {
      const { client, sent } = yield* clientOf(() => ({}))
      const keyed = yield* makeKeyed("throws", one)
      const guarded = BreakerHttpClient.withBreaker(client, keyed, {
        key: () => {
          throw new Error("no key")
        }
      })
      assert.include(String(yield* Effect.exit(guarded.get("https://a.test"))), "no key")
      assert.strictEqual(yield* sent, 0)
      assert.strictEqual(yield* keyed.size, 0)
    }))

  it.effect("a header that HTTP forbids is the caller's mistake with every client, and opens nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* make("headers", one)
      for (const layer of [FetchHttpClient.layer, NodeHttpClient.layerUndici, NodeHttpClient.layerNodeHttp]) {
        const client = BreakerHttpClient.withBreaker(yield* Effect.provide(HttpClient.HttpClient, layer), breaker)
        for (
          const [name, value] of [["x-tenant", "a\r\nx-role: admin"], ["x-tenant", "\0"], ["x tenant", "a"]] as const
        ) {
          const request = HttpClientRequest.setHeader(HttpClientRequest.get("http://127.0.0.1:1"), name, value)
          assert.isTrue(Exit.isFailure(yield* Effect.exit(client.execute(request))))
        }
      }
      const { state, statistics: { ignored } } = yield* breaker.snapshot
      assert.deepStrictEqual({ ignored, state }, { ignored: 9, state: "Closed" })
    }))

  it.effect("a key of 10,000 characters is a key", () =>
    Effect.gen(function*() {
      const { client } = yield* sick
      const guarded = BreakerHttpClient.withBreaker(client, yield* makeKeyed("long", one), {
        key: () => "k".repeat(10_000)
      })
      yield* guarded.get("https://a.test")
      assert.instanceOf(yield* Effect.flip(guarded.get("https://a.test")), Breaker.BreakerOpenError)
    }))

  it.effect("a timeout of the policy interrupts the request", () =>
    Effect.gen(function*() {
      let aborted = false
      const client = HttpClient.make((_request, _url, signal) =>
        Effect.callback((_resume) => {
          signal.addEventListener("abort", () => aborted = true)
        })
      )
      const guarded = BreakerHttpClient.withBreaker(client, yield* make("slow", { ...one, timeout: "1 second" }))
      const fiber = yield* Effect.forkChild(Effect.flip(guarded.get("https://a.test")))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "BreakerTimeoutError")
      assert.isTrue(aborted)
    }))

  it.effect("Retry-After lengthens the open time", () =>
    Effect.gen(function*() {
      const { client } = yield* clientOf(() => ({ status: 503, headers: { "retry-after": "300" } }))
      const guarded = BreakerHttpClient.withBreaker(client, yield* make("hint", one))
      yield* guarded.get("https://a.test")
      const error = yield* Effect.flip(guarded.get("https://a.test"))
      assert.strictEqual(error._tag === "BreakerOpenError" && Duration.toSeconds(error.retryAfter!), 300)
    }))

  it.effect("one outcome a call outside of retries, one an attempt inside", () =>
    Effect.gen(function*() {
      const retried = <E, R>(self: HttpClient.HttpClient.With<E, R>) => HttpClient.retryTransient(self, { times: 2 })
      const { client, sent } = yield* sick
      const outside = yield* make("outside", { trip: Trip.consecutiveFailures(9) })
      yield* client.pipe(retried, BreakerHttpClient.withBreaker(outside)).get("https://a.test")
      assert.strictEqual((yield* outside.snapshot).statistics.failure, 1)
      assert.strictEqual(yield* sent, 3)
      const inside = yield* make("inside", { trip: Trip.consecutiveFailures(9) })
      yield* client.pipe(BreakerHttpClient.withBreaker(inside), retried).get("https://a.test")
      assert.strictEqual((yield* inside.snapshot).statistics.failure, 3)
    }))

  it.effect("no retry outside sends a request to an open circuit", () =>
    Effect.gen(function*() {
      const { client, sent } = yield* sick
      const guarded = client.pipe(
        BreakerHttpClient.withBreaker(yield* make("retried", one)),
        HttpClient.retryTransient({ times: 5 })
      )
      yield* Effect.exit(guarded.get("https://a.test"))
      assert.strictEqual(yield* sent, 1)
      assert.instanceOf(yield* Effect.flip(guarded.get("https://a.test")), Breaker.BreakerOpenError)
      assert.strictEqual(yield* sent, 1)
    }))

  it.effect("the options of a request come before those of its client", () =>
    Effect.gen(function*() {
      const { client, sent } = yield* sick
      const keyed = yield* makeKeyed("per-request", one)
      const guarded = BreakerHttpClient.withBreaker(client, keyed, { enabled: false })
      const get = guarded.get("https://a.test")
      for (let n = 0; n < 3; n++) yield* get
      assert.strictEqual(yield* keyed.size, 0)
      const enabled = BreakerHttpClient.withRequestOptions(get, { enabled: true, key: "mine" })
      yield* enabled
      const error = yield* Effect.flip(enabled)
      assert.strictEqual(error._tag === "BreakerOpenError" && error.circuit, "per-request/mine")
      yield* BreakerHttpClient.withRequestOptions(get, { enabled: true, key: null })
      yield* BreakerHttpClient.withRequestOptions(get, {
        enabled: true,
        key: "ignores",
        classify: () => Outcome.ignored
      })
      assert.strictEqual((yield* keyed.get("ignores").snapshot).statistics.ignored, 1)
      assert.strictEqual(yield* sent, 6)
      yield* Breaker.bypass(enabled)
      assert.strictEqual(yield* sent, 7)
    }))
})

describe("layer", () => {
  class Origins extends Breaker.KeyedService<Origins>()("layer-origins", one) {}

  const with503 = (options: { readonly rejectAs?: BreakerHttpClient.RejectAs }) =>
    Effect.map(sick, ({ client, sent }) => ({
      sent,
      live: BreakerHttpClient.layer(Origins, options).pipe(
        Layer.provide([Layer.succeed(HttpClient.HttpClient, client), Origins.layer]),
        Layer.provide(Storage.MemoryStorageLive)
      )
    }))
  const get = HttpClient.get("https://a.test")

  it.effect("a rejection is a TransportError with the breaker's error as its cause", () =>
    Effect.gen(function*() {
      const { live, sent } = yield* with503({})
      yield* Effect.gen(function*() {
        yield* get
        const error = yield* Effect.flip(get)
        assert.strictEqual(error.reason._tag, "TransportError")
        const rejection = Option.getOrThrow(BreakerHttpClient.rejectionOf(error))
        assert.strictEqual(rejection._tag, "BreakerOpenError")
        assert.include(error.message, "takes no calls now")
        const fallback = yield* get.pipe(BreakerHttpClient.catchRejection(({ circuit }) => Effect.succeed(circuit)))
        assert.strictEqual(fallback, "layer-origins/https://a.test")
        assert.strictEqual(yield* sent, 1)
      }).pipe(Effect.provide(live))
    }))

  it.effect("a rejection can be a 503 with Retry-After, which a retry sleeps", () =>
    Effect.gen(function*() {
      const { live, sent } = yield* with503({ rejectAs: "StatusCodeError" })
      yield* Effect.gen(function*() {
        yield* get
        const error = yield* Effect.flip(get)
        assert.strictEqual(error.response?.status, 503)
        assert.strictEqual(error.response?.headers["retry-after"], "60")
        const client = yield* HttpClient.HttpClient
        const patient = client.pipe(HttpClient.filterStatusOk, HttpClient.retryTransient({ times: 1 }))
        const fiber = yield* Effect.forkChild(Effect.exit(patient.get("https://a.test")))
        yield* TestClock.adjust("59 seconds")
        assert.strictEqual(yield* sent, 1)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.strictEqual(yield* sent, 2)
      }).pipe(Effect.provide(live))
    }))

  for (const rejectAs of ["TransportError", "StatusCodeError"] as const) {
    it.effect(`this module's retryTransient leaves a rejection alone that is a ${rejectAs}`, () =>
      Effect.gen(function*() {
        const { live, sent } = yield* with503({ rejectAs })
        yield* Effect.gen(function*() {
          yield* get
          const client = yield* HttpClient.HttpClient
          const retried = client.pipe(BreakerHttpClient.retryTransient({ schedule: Schedule.spaced("1 second") }))
          const error = yield* Effect.flip(retried.get("https://a.test"))
          assert.strictEqual(error.reason._tag, rejectAs)
          assert.strictEqual(yield* sent, 1)
        }).pipe(Effect.provide(live))
      }))
  }

  it.effect("Effect's retryTransient spends its attempts on a rejection, and sends nothing", () =>
    Effect.gen(function*() {
      const { live, sent } = yield* with503({})
      yield* Effect.gen(function*() {
        yield* get
        const client = yield* HttpClient.HttpClient
        yield* Effect.flip(client.pipe(HttpClient.retryTransient({ times: 3 })).get("https://a.test"))
        assert.strictEqual(yield* sent, 1)
      }).pipe(Effect.provide(live))
    }))

  it.effect("this module's retryTransient retries a timeout of the policy", () =>
    Effect.gen(function*() {
      let sent = 0
      const client = HttpClient.make(() => Effect.andThen(Effect.sync(() => sent++), Effect.never))
      const breaker = yield* make("times-out", { timeout: "1 second" })
      const guarded = client.pipe(
        BreakerHttpClient.withBreaker(breaker),
        BreakerHttpClient.retryTransient({ times: 2 })
      )
      const fiber = yield* Effect.forkChild(Effect.flip(guarded.get("https://a.test")))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "BreakerTimeoutError")
      assert.strictEqual(sent, 3)
    }))

  it.effect("other errors of the client stay as they are", () =>
    Effect.gen(function*() {
      const { client } = yield* clientOf((request) => Effect.fail(transportError(request, new Error("refused"))))
      const live = BreakerHttpClient.layer(Origins).pipe(
        Layer.provide([Layer.succeed(HttpClient.HttpClient, client), Origins.layer]),
        Layer.provide(Storage.MemoryStorageLive)
      )
      const error = yield* Effect.flip(get).pipe(Effect.provide(live))
      assert.isTrue(Option.isNone(BreakerHttpClient.rejectionOf(error)))
      assert.strictEqual((error.reason as { readonly cause?: Error }).cause?.message, "refused")
    }))

  it.effect("requests are mapped before and after the breaker", () =>
    Effect.gen(function*() {
      const { client } = yield* clientOf(({ headers }) => ({ headers: { echo: headers["x-a"] ?? "" } }))
      const guarded = client.pipe(
        HttpClient.mapRequest(HttpClientRequest.setHeader("x-a", "1")),
        BreakerHttpClient.withBreaker(yield* make("mapped", one)),
        HttpClient.mapRequest(HttpClientRequest.prependUrl("https://api.test"))
      )
      assert.strictEqual((yield* guarded.get("/users")).headers["echo"], "1")
    }))
})
