import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit } from "effect"
import { HttpClient, HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Outcome, Storage, Trip } from "../../src/index.ts"
import { transportError } from "./support.ts"

const request = HttpClientRequest.get("https://api.test/users")

const responseOf = (status: number, headers: Record<string, string> = {}) =>
  HttpClientResponse.fromWeb(
    request,
    Object.defineProperty(new Response(null, { headers }), "status", { value: status })
  )

const tagOf = (exit: Exit.Exit<HttpClientResponse.HttpClientResponse, unknown>) =>
  Effect.map(BreakerHttpClient.classify(exit), ({ _tag }) => _tag)

const abortError = Object.assign(new Error("aborted"), { name: "AbortError" })
const timeoutError = Object.assign(new Error("timed out"), { name: "TimeoutError" })
const open = new Breaker.BreakerOpenError({ circuit: "x", state: "Open", openedBy: "fleet" })
const late = new Breaker.BreakerTimeoutError({ circuit: "x", timeout: Duration.seconds(1) })

describe("the classification of responses", () => {
  const table: ReadonlyArray<readonly [Outcome.Outcome["_tag"], ReadonlyArray<number>]> = [
    ["Success", [100, 101, 200, 204, 299, 301, 304, 399, 404, 409, 410, 412]],
    ["Failure", [408, 500, 502, 503, 504, 506, 507, 511, 520, 529, 599, 999]],
    ["Ignored", [400, 401, 403, 405, 406, 411, 413, 415, 422, 429, 451, 499, 501, 505, 0, -1, NaN]]
  ]
  for (const [expected, statuses] of table) {
    it.effect(`${expected}: ${statuses.join(", ")}`, () =>
      Effect.gen(function*() {
        for (const status of statuses) {
          assert.strictEqual(yield* tagOf(Exit.succeed(responseOf(status))), expected, String(status))
        }
      }))
  }

  it.effect("a 429 is Ignored, with its Retry-After", () =>
    Effect.gen(function*() {
      const outcome = yield* BreakerHttpClient.classify(Exit.succeed(responseOf(429, { "retry-after": "120" })))
      assert.deepStrictEqual(outcome, Outcome.ignoredWith({ retryAfter: Duration.minutes(2) }))
    }))

  it.effect("exceptions by status and request come before the table", () =>
    Effect.gen(function*() {
      const classify = BreakerHttpClient.classifyWith({
        statuses: (status, { method }) => status === 404 && method === "GET" ? "Failure" : undefined
      })
      assert.strictEqual((yield* classify(Exit.succeed(responseOf(404))))._tag, "Failure")
      assert.strictEqual((yield* classify(Exit.succeed(responseOf(500))))._tag, "Failure")
      assert.strictEqual((yield* classify(Exit.succeed(responseOf(409))))._tag, "Success")
    }))
})

describe("Effect's own classifier of HTTP exits", () => {
  it.effect("classifies as a policy's classify, and as that of one call, with its hint", () =>
    Effect.gen(function*() {
      const classify = HttpClient.circuitBreakerClassifier
      const policy = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const
      const breaker = yield* Breaker.make("by-effect", { ...policy, classify })
      const keyed = yield* Breaker.makeKeyed("by-effect-keyed", policy)
      const calls = [
        [breaker, (status: number, headers = {}) => breaker.wrap(Effect.succeed(responseOf(status, headers)))],
        [
          keyed.get("a"),
          (status: number, headers = {}) =>
            keyed.wrap(Effect.succeed(responseOf(status, headers)), { key: "a", classify })
        ]
      ] as const
      for (const [{ snapshot }, call] of calls) {
        for (const status of [200, 404, 429]) yield* call(status)
        yield* call(503, { "retry-after": "120" })
        const { retryAfter, state, statistics: { failure, ignored, success } } = yield* snapshot
        assert.deepStrictEqual({ failure, ignored, state, success }, {
          failure: 1,
          ignored: 1,
          state: "Open",
          success: 2
        })
        assert.deepStrictEqual(retryAfter, Duration.minutes(2))
      }
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))
})

describe("the classification of errors", () => {
  const reason = {
    encode: new HttpClientError.EncodeError({ request }),
    url: new HttpClientError.InvalidUrlError({ request }),
    decode: new HttpClientError.DecodeError({ request, response: responseOf(200) }),
    empty: new HttpClientError.EmptyBodyError({ request, response: responseOf(200) }),
    status: (status: number) => new HttpClientError.StatusCodeError({ request, response: responseOf(status) })
  }
  const wrong = (reason: HttpClientError.HttpClientError["reason"]) => new HttpClientError.HttpClientError({ reason })
  const table: ReadonlyArray<readonly [string, Cause.Cause<unknown>, Outcome.Outcome["_tag"]]> = [
    ["a transport error", Cause.fail(transportError(request, new Error("ECONNREFUSED"))), "Failure"],
    ["Effect's timeout", Cause.fail(new Cause.TimeoutError()), "Failure"],
    ["an encode error", Cause.fail(wrong(reason.encode)), "Ignored"],
    ["an invalid URL", Cause.fail(wrong(reason.url)), "Ignored"],
    ["a decode error", Cause.fail(wrong(reason.decode)), "Ignored"],
    ["an empty body", Cause.fail(wrong(reason.empty)), "Ignored"],
    ["the status error of a 503", Cause.fail(wrong(reason.status(503))), "Failure"],
    ["the status error of a 404", Cause.fail(wrong(reason.status(404))), "Success"],
    ["the application's abort", Cause.fail(transportError(request, abortError)), "Ignored"],
    ["AbortSignal.timeout", Cause.fail(transportError(request, timeoutError)), "Failure"],
    ["an interruption", Cause.interrupt(), "Ignored"],
    ["a rejection of another breaker", Cause.fail(open), "Ignored"],
    ["a rejection as the cause of a transport error", Cause.fail(transportError(request, open)), "Ignored"],
    ["a timeout of another breaker", Cause.fail(transportError(request, late)), "Failure"],
    ["an error with an outcome of its own", Cause.fail({ [Outcome.outcome]: Outcome.success }), "Success"],
    ["any other error", Cause.fail("no"), "Failure"],
    ["a defect", Cause.die(new Error("bug")), "Failure"],
    ["a failure beside a success", Cause.combine(Cause.fail(wrong(reason.status(404))), Cause.fail("no")), "Failure"]
  ]
  for (const [what, cause, expected] of table) {
    it.effect(`${what} is ${expected}`, () =>
      Effect.map(tagOf(Exit.failCause(cause)), (tag) => assert.strictEqual(tag, expected)))
  }

  it.effect("a hostile error is an error like any other", () =>
    Effect.gen(function*() {
      const { proxy, revoke } = Proxy.revocable({}, {})
      revoke()
      const throws = {
        get cause(): unknown {
          throw new Error("getter")
        }
      }
      assert.strictEqual(yield* tagOf(Exit.fail(throws)), "Failure")
      assert.strictEqual(yield* tagOf(Exit.fail(proxy)), "Failure")
      assert.strictEqual(yield* tagOf(Exit.die(proxy)), "Failure")
    }))
})

describe("Retry-After", () => {
  const hourAhead = "Thu, 01 Jan 1970 01:00:00 GMT"
  const table: ReadonlyArray<readonly [string, Record<string, string>, number | undefined]> = [
    ["seconds", { "retry-after": "120" }, 120_000],
    ["zero", { "retry-after": "0" }, 0],
    ["a date by this clock", { "retry-after": "Thu, 01 Jan 1970 00:02:00 GMT" }, 120_000],
    ["a date by a server whose clock is an hour ahead", {
      "retry-after": "Thu, 01 Jan 1970 01:00:30 GMT",
      date: hourAhead
    }, 30_000],
    ["a date that is over", { "retry-after": "Thu, 01 Jan 1970 00:00:00 GMT", date: hourAhead }, 0],
    ["a date beside a Date that is none", { "retry-after": "Thu, 01 Jan 1970 00:02:00 GMT", date: "noon" }, 120_000],
    ["garbage", { "retry-after": "soon" }, undefined],
    ["a fraction", { "retry-after": "1.5" }, undefined],
    ["a negative number", { "retry-after": "-1" }, undefined],
    ["an empty text", { "retry-after": "" }, undefined],
    ["none", {}, undefined]
  ]
  for (const [what, headers, millis] of table) {
    it.effect(`${what}: ${millis}`, () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(0)
        const hint = yield* BreakerHttpClient.retryAfter(responseOf(503, headers))
        assert.strictEqual(hint === undefined ? undefined : Duration.toMillis(hint), millis)
      }))
  }

  it.effect("a failure has its hint, however long", () =>
    Effect.gen(function*() {
      const outcome = yield* BreakerHttpClient.classify(
        Exit.succeed(responseOf(503, { "retry-after": "9".repeat(400) }))
      )
      assert.strictEqual(outcome._tag, "Failure")
      const ordinary = yield* BreakerHttpClient.classify(Exit.succeed(responseOf(503, { "retry-after": "7" })))
      assert.deepStrictEqual(ordinary, Outcome.failure({ retryAfter: Duration.seconds(7) }))
    }))
})
