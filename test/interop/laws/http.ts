/** What Effect documents of `HttpClient.withCircuitBreaker`, as laws of the breaker that it is given. */
import { assert } from "@effect/vitest"
import { Cause, Data, Duration, Effect, Exit, Option, Schema, Tracer } from "effect"
import { HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import { CircuitBreaker } from "effect/persistence"
import { clientOf, transportError } from "../../http/support.ts"
import { becomes, type Subject } from "./breaker.ts"
import { type Law, reasonOf } from "./law.ts"

const law = (name: string, check: Law<Subject>["check"]): Law<Subject> => ({ name, check })

const oneFailure = (subject: Subject) =>
  subject.make({ tripPolicy: CircuitBreaker.consecutive(1), openDuration: 3 * subject.unitMillis })

const twoFailures = (subject: Subject) =>
  subject.make({ tripPolicy: CircuitBreaker.consecutive(2), openDuration: 3 * subject.unitMillis })

const sick = clientOf(() => ({ status: 503 }))

let outcomes = 0

/** The outcome that the breaker saw, by what it does with the circuit after one failure. */
const outcomeOf = (
  subject: Subject,
  call: Effect.Effect<unknown, unknown>,
  classify: typeof HttpClient.circuitBreakerClassifier
) =>
  Effect.gen(function*() {
    const breaker = yield* twoFailures(subject)
    // Breakers of one subject may share their circuits.
    const key = `outcome ${++outcomes}`
    yield* Effect.exit(breaker.execute(Effect.fail("unavailable"), { key }))
    yield* Effect.exit(
      breaker.execute(call as Effect.Effect<HttpClientResponse.HttpClientResponse>, { key, classify })
    )
    if ((yield* breaker.state(key))._tag === "Open") return "Failure"
    yield* Effect.exit(breaker.execute(Effect.fail("unavailable"), { key }))
    return (yield* breaker.state(key))._tag === "Open" ? "Ignored" : "Success"
  })

const statuses: ReadonlyArray<readonly [outcome: string, ...statuses: ReadonlyArray<number>]> = [
  ["Failure", 408, 500, 502, 503, 504],
  ["Ignored", 429],
  ["Success", 200, 204, 301, 400, 401, 403, 404, 409, 422, 501, 505]
]

class Degraded extends Data.TaggedError("Degraded") {}

export const laws: ReadonlyArray<Law<Subject>> = [
  law("a request has a circuit for its origin", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const { client, sent } = yield* clientOf(({ url }) => ({ status: url.includes("sick") ? 503 : 200 }))
      const guarded = HttpClient.withCircuitBreaker(client, { breaker })
      assert.strictEqual((yield* guarded.get("https://sick.test/a")).status, 503)
      const reason = yield* reasonOf(guarded.get("https://SICK.test:443/b?c#d"))
      assert.strictEqual(reason._tag === "CircuitOpen" && reason.key, "https://sick.test")
      assert.strictEqual((yield* guarded.get("https://well.test/a")).status, 200)
      assert.strictEqual((yield* breaker.state("https://sick.test"))._tag, "Open")
      assert.strictEqual(yield* sent, 2)
    })),

  law(
    "a URL that cannot be parsed is its own key, and says nothing about a server",
    (subject) =>
      Effect.gen(function*() {
        const breaker = yield* oneFailure(subject)
        const { client } = yield* clientOf(() => ({}))
        const guarded = HttpClient.withCircuitBreaker(client, { breaker })
        for (const url of ["http://[::1", "no url", ""]) {
          for (let n = 0; n < 2; n++) {
            const error = yield* Effect.flip(guarded.get(url))
            assert.strictEqual(error._tag === "HttpClientError" && error.reason._tag, "InvalidUrlError", url)
          }
          assert.strictEqual((yield* breaker.state(url))._tag, "Closed")
        }
      })
  ),

  law("a key can be given, or a function of the request", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const { client } = yield* sick
      const named = HttpClient.withCircuitBreaker(client, { breaker, key: "inventory" })
      yield* named.get("https://a.test")
      assert.strictEqual((yield* reasonOf(named.get("https://b.test")))._tag, "CircuitOpen")
      const byTenant = HttpClient.withCircuitBreaker(client, {
        breaker,
        key: ({ headers }) => headers["x-tenant"] ?? ""
      })
      const as = (tenant: string) => byTenant.get("https://a.test", { headers: { "x-tenant": tenant } })
      yield* as("a")
      yield* as("b")
      assert.strictEqual((yield* reasonOf(as("a")))._tag, "CircuitOpen")
      yield* byTenant.get("https://a.test")
      const reason = yield* reasonOf(byTenant.get("https://a.test"))
      assert.strictEqual("key" in reason && reason.key, "")
    })),

  ...statuses.map(([outcome, ...statuses]) =>
    law(`${statuses.join(", ")}: ${outcome}`, (subject) =>
      Effect.gen(function*() {
        for (const status of statuses) {
          const { client } = yield* clientOf(() => ({ status }))
          const seen = yield* outcomeOf(subject, client.get("https://a.test"), HttpClient.circuitBreakerClassifier)
          assert.strictEqual(seen, outcome, String(status))
        }
      }))
  ),

  law(
    "a request that could not be sent, or took too long, failed; one that was never to be sent says nothing",
    (subject) =>
      Effect.gen(function*() {
        const { client } = yield* clientOf((request) => Effect.fail(transportError(request)))
        const request = Effect.flip(client.get("https://a.test"))
        const error = yield* request
        assert.instanceOf(error, HttpClientError.HttpClientError)
        const of = (call: Effect.Effect<unknown, unknown>) =>
          outcomeOf(subject, call, HttpClient.circuitBreakerClassifier)
        assert.strictEqual(yield* of(client.get("https://a.test")), "Failure")
        assert.strictEqual(yield* of(Effect.fail(new Cause.TimeoutError())), "Failure")
        const { request: sent } = error.reason
        for (const Reason of [HttpClientError.InvalidUrlError, HttpClientError.EncodeError]) {
          const ignored = new HttpClientError.HttpClientError({ reason: new Reason({ request: sent }) })
          assert.strictEqual(yield* of(Effect.fail(ignored)), "Ignored", Reason.name)
        }
        assert.strictEqual(yield* of(Effect.die("defect")), "Ignored")
      })
  ),

  law("Retry-After lengthens the open time", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const { client } = yield* clientOf(() => ({ status: 503, headers: { "retry-after": "300" } }))
      const guarded = HttpClient.withCircuitBreaker(client, { breaker })
      yield* guarded.get("https://a.test")
      const reason = yield* reasonOf(guarded.get("https://a.test"))
      const { retryAfter } = reason as CircuitBreaker.CircuitOpen
      assert.strictEqual(Math.ceil(Duration.toSeconds(retryAfter)), 300)
    })),

  law("classify can count what a body says", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const { client } = yield* clientOf(() => ({ body: JSON.stringify({ status: "degraded" }) }))
      const Body = Schema.Struct({ status: Schema.String })
      const guarded = client.pipe(
        HttpClient.transformResponse(Effect.flatMap((response) =>
          Effect.flatMap(
            HttpClientResponse.schemaBodyJson(Body)(response),
            ({ status }) => status === "degraded" ? Effect.fail(new Degraded()) : Effect.succeed(response)
          )
        )),
        HttpClient.withCircuitBreaker({
          breaker,
          classify: (exit) =>
            Option.exists(Exit.findErrorOption(exit), (error) => error._tag === "Degraded")
              ? CircuitBreaker.failure()
              : HttpClient.circuitBreakerClassifier(exit)
        })
      )
      assert.strictEqual((yield* Effect.flip(guarded.get("https://a.test")))._tag, "Degraded")
      assert.strictEqual((yield* breaker.state("https://a.test"))._tag, "Open")
    })),

  law(
    "outside of the retries it sees one outcome a call, and a rejection is never retried",
    (subject) =>
      Effect.gen(function*() {
        const breaker = yield* twoFailures(subject)
        const { client, sent } = yield* sick
        const guarded = client.pipe(HttpClient.retryTransient({ times: 2 }), HttpClient.withCircuitBreaker({ breaker }))
        yield* guarded.get("https://a.test")
        assert.deepStrictEqual([yield* sent, (yield* breaker.state("https://a.test"))._tag], [3, "Closed"])
        yield* guarded.get("https://a.test")
        assert.deepStrictEqual([yield* sent, (yield* breaker.state("https://a.test"))._tag], [6, "Open"])
        const retried = HttpClient.retryTransient(guarded, { times: 3 })
        assert.strictEqual((yield* reasonOf(retried.get("https://a.test")))._tag, "CircuitOpen")
        assert.strictEqual(yield* sent, 6)
      })
  ),

  law("a probe that succeeds closes the circuit of its origin", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      let status = 503
      const { client } = yield* clientOf(() => ({ status }))
      const guarded = HttpClient.withCircuitBreaker(client, { breaker })
      yield* guarded.get("https://a.test")
      yield* subject.advance(4)
      status = 200
      yield* guarded.get("https://a.test")
      yield* becomes(subject, breaker, { _tag: "Closed" }, "https://a.test")
    })),

  law("a rejected request has no span of the client", (subject) =>
    Effect.gen(function*() {
      const breaker = yield* oneFailure(subject)
      const { client } = yield* sick
      const guarded = HttpClient.withCircuitBreaker(client, { breaker })
      const spans: Array<string> = []
      const tracer = Tracer.make({
        span: (options) => {
          spans.push(options.name)
          return new Tracer.NativeSpan(options)
        }
      })
      const traced = Effect.withTracer(Effect.exit(guarded.get("https://a.test")), tracer)
      yield* traced
      const [before] = [spans.length]
      yield* traced
      assert.isAbove(before, 0)
      assert.strictEqual(spans.length, before)
    }))
]
