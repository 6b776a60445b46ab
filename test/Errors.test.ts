import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Fiber, Formatter, Layer, Logger, Schema, SchemaAST } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { loggedError } from "../src/internal/StorageErrors.ts"
import { failing, Link, memory } from "./support/storages.ts"
import { failTimes, make, rejectionOf } from "./utils.ts"

const roundTrip = <A, I>(schema: Schema.Codec<A, I>, value: A): A =>
  Schema.decodeUnknownSync(schema)(JSON.parse(JSON.stringify(Schema.encodeSync(schema)(value))))

describe("errors", () => {
  it.effect("a rejection survives JSON, with the retryAfter of that moment (F5)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("json", { trip: Trip.consecutiveFailures(1), openFor: "30 seconds" })
      yield* failTimes(breaker, 1, new Error("the cause"))
      yield* TestClock.adjust("10 seconds")
      const error = yield* rejectionOf(breaker)
      const again = roundTrip(Breaker.BreakerOpenError, error)
      assert.instanceOf(again, Breaker.BreakerOpenError)
      assert.deepInclude(again, { circuit: "json", state: "Open", openedBy: "instance" })
      assert.deepStrictEqual(again.retryAfter, Duration.seconds(20))
      assert.notProperty(again, "reason")
      assert.notProperty(again, "lastFailure")
      assert.strictEqual(again.message, "Circuit \"json\" is open (retry after 20 s)")
      assert.strictEqual(error.message, "Circuit \"json\" is open: 1 consecutive failures (retry after 20 s)")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(again.retryAfter, Duration.seconds(20))
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(10))
    }))

  it.effect("a rejection of a forced open circuit survives JSON, without a retryAfter", () =>
    Effect.gen(function*() {
      const breaker = yield* make("forced-json", {})
      yield* breaker.override({ mode: "ForcedOpen", reason: "r", actor: "a" })
      const again = roundTrip(Breaker.BreakerOpenError, yield* rejectionOf(breaker))
      assert.deepInclude(again, { state: "ForcedOpen", openedBy: "override" })
      assert.isFalse("retryAfter" in again)
    }))

  it("BreakerTimeoutError and BulkheadFullError survive JSON", () => {
    const timeout = new Breaker.BreakerTimeoutError({ circuit: "c", timeout: Duration.seconds(2) })
    assert.deepStrictEqual(roundTrip(Breaker.BreakerTimeoutError, timeout).timeout, Duration.seconds(2))
    const full = new Breaker.BulkheadFullError({ circuit: "c", maxConcurrent: 3 })
    assert.deepInclude(roundTrip(Breaker.BulkheadFullError, full), { circuit: "c", maxConcurrent: 3 })
    const storage = new Storage.StorageError({ operation: "load", reason: "Deadline", cause: "slow" })
    assert.deepInclude(roundTrip(Storage.StorageError, storage), { operation: "load", reason: "Deadline" })
  })

  it("errors have a message, and a name of this library", () => {
    const errors = [
      new Breaker.BreakerOpenError({ circuit: "c", state: "Open", openedBy: "instance" }),
      new Breaker.BreakerTimeoutError({ circuit: "c", timeout: Duration.seconds(2) }),
      new Breaker.BulkheadFullError({ circuit: "c", maxConcurrent: 3 })
    ]
    for (const error of errors) {
      assert.include(error.message, "\"c\"")
      assert.strictEqual(error.name, `effect-breaker/Breaker/${error._tag}`)
      assert.isTrue(Breaker.isRejection(error))
    }
  })

  it("errors are annotated with an HTTP status", () => {
    const statusOf = (schema: Schema.Top) => SchemaAST.resolve(schema.ast)?.["httpApiStatus"]
    assert.strictEqual(statusOf(Breaker.BreakerOpenError), 503)
    assert.strictEqual(statusOf(Breaker.BreakerTimeoutError), 504)
    assert.strictEqual(statusOf(Breaker.BulkheadFullError), 503)
  })

  const { isBreakerError, isNotCalled, isRejection, isTimeout } = Breaker
  const guards = { isRejection, isNotCalled, isTimeout, isBreakerError }
  type Guard = keyof typeof guards
  const guarded: ReadonlyArray<readonly [unknown, ReadonlyArray<Guard>]> = [
    [
      new Breaker.BreakerOpenError({ circuit: "c", state: "Open", openedBy: "instance" }),
      ["isRejection", "isNotCalled", "isBreakerError"]
    ],
    [
      new Breaker.BulkheadFullError({ circuit: "c", maxConcurrent: 3 }),
      ["isRejection", "isNotCalled", "isBreakerError"]
    ],
    [
      new Breaker.BreakerTimeoutError({ circuit: "c", timeout: Duration.seconds(2) }),
      ["isRejection", "isTimeout", "isBreakerError"]
    ],
    [
      new Storage.StorageError({ operation: "sync", reason: "Deadline", cause: "slow" }),
      ["isNotCalled", "isBreakerError"]
    ],
    ...[undefined, null, "BreakerOpenError", new Error("no"), { _tag: "NotFound" }, new Cause.TimeoutError()].map((
      own
    ) => [own, []] as const)
  ]
  for (const [error, expected] of guarded) {
    it(`of the guards, ${expected.join(", ") || "none"} holds for ${String(error)} (F35)`, () => {
      const holding = Object.entries(guards).filter(([, guard]) => guard(error)).map(([name]) => name)
      assert.deepStrictEqual(holding, [...expected])
    })
  }

  it.effect("the guard of calls that were not made agrees with whether the call ran (F35)", () =>
    Effect.gen(function*() {
      const strict = { consistency: "strict", onStorageError: "fail" } as const
      const link = new Link(yield* memory)
      const situations: ReadonlyArray<
        readonly [Breaker.Policy, Effect.Effect<unknown>, (breaker: Breaker.Breaker<unknown>) => Effect.Effect<unknown>]
      > = [
        [{ timeout: "1 second" }, Effect.never, () => Effect.void],
        [{ trip: Trip.consecutiveFailures(1) }, Effect.void, (breaker) => failTimes(breaker, 1)],
        [
          { maxConcurrent: 1 },
          Effect.void,
          ({ wrap }) => Effect.forkChild(wrap(Effect.never), { startImmediately: true })
        ],
        [strict, Effect.void, () => Effect.sync(() => link.fault(failing("Unavailable")))]
      ]
      for (const [i, [policy, body, prepare]] of situations.entries()) {
        const breaker = yield* link.make(`situation ${i}`, policy)
        yield* prepare(breaker)
        let ran = false
        const call = breaker.wrap(Effect.andThen(Effect.sync(() => ran = true), body))
        const fiber = yield* Effect.forkChild(Effect.flip(call), { startImmediately: true })
        yield* TestClock.adjust("2 seconds")
        const error = yield* Fiber.join(fiber)
        assert.isTrue(Breaker.isBreakerError(error))
        assert.strictEqual(Breaker.isNotCalled(error), !ran, String(error))
      }
    }))

  it.effect("all rejections of one opening share one error", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shared", { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" })
      yield* failTimes(breaker, 1)
      const error = yield* rejectionOf(breaker)
      assert.strictEqual(yield* rejectionOf(breaker), error)
      yield* TestClock.adjust("10 seconds")
      yield* failTimes(breaker, 1)
      assert.notStrictEqual(yield* rejectionOf(breaker), error)
    }))

  it("rejections carry Ignored as their own outcome", () => {
    const open = new Breaker.BreakerOpenError({ circuit: "c", state: "Open", openedBy: "instance" })
    assert.deepStrictEqual(open[Outcome.outcome], Outcome.ignored)
  })
})

const secrets = ["ECONNREFUSED", "db-7.internal", "hunter2", "x-api-key", "s3cr3t", "incident 42"]

const upstream = () =>
  Object.assign(
    new Error("connect ECONNREFUSED db-7.internal user=app", { cause: new Error("password=hunter2") }),
    { headers: { "x-api-key": "s3cr3t" } }
  )

const assertNoSecret = (text: string) => {
  for (const secret of secrets) assert.notInclude(text, secret)
}

describe("what leaves the process", () => {
  /** A rejection after a failure with secrets, and one under an override with a reason. */
  const rejections = Effect.gen(function*() {
    const breaker = yield* make("leaky", { trip: Trip.consecutiveFailures(1) })
    yield* failTimes(breaker, 1, upstream())
    const open = yield* rejectionOf(breaker)
    yield* breaker.override({ mode: "ForcedOpen", reason: "incident 42", actor: "a" })
    return [open, yield* rejectionOf(breaker)] as const
  })

  it.effect("the process keeps the last failure and the reason of a rejection", () =>
    Effect.gen(function*() {
      const [open, forced] = yield* rejections
      assert.include(String(open.lastFailure), "db-7.internal")
      assert.strictEqual(open.reason, "1 consecutive failures")
      assert.strictEqual(forced.reason, "incident 42")
    }))

  it.effect("no encoding, JSON, copy, message or print of a breaker's error has an upstream error or an operator's reason (F5)", () =>
    Effect.gen(function*() {
      const storage = new Storage.StorageError({ operation: "sync", reason: "Unavailable", cause: upstream() })
      const [open, forced] = yield* rejections
      const encodings = [
        [open, Breaker.BreakerOpenError],
        [forced, Breaker.BreakerOpenError],
        [new Breaker.BreakerTimeoutError({ circuit: "c", timeout: Duration.seconds(2) }), Breaker.BreakerTimeoutError],
        [new Breaker.BulkheadFullError({ circuit: "c", maxConcurrent: 3 }), Breaker.BulkheadFullError],
        [storage, Storage.StorageError]
      ] as const
      for (const [error, schema] of encodings) {
        const encoded = JSON.stringify(Schema.encodeUnknownSync(schema)(error))
        assertNoSecret(encoded)
        assert.strictEqual(JSON.stringify(error), encoded)
        assertNoSecret(Formatter.formatJson(error))
        assertNoSecret(inspect(error, { depth: 10 }))
        assertNoSecret(JSON.stringify({ ...error }))
        assertNoSecret(`${error} ${error.message}`)
        const defect = Schema.encodeSync(Schema.Defect())(error)
        if (error !== storage) assertNoSecret(JSON.stringify(defect))
      }
    }))

  it.effect("an endpoint that declares the error answers with circuit, state and retryAfter (F5)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("orders", { trip: Trip.consecutiveFailures(1), openFor: "30 seconds" })
      const Api = HttpApi.make("api").add(
        HttpApiGroup.make("orders").add(
          HttpApiEndpoint.get("read", "/orders", { success: Schema.String, error: Breaker.BreakerOpenError })
        )
      )
      const read = Effect.fail(upstream()).pipe(
        breaker.wrap,
        Effect.catchIf(Breaker.isRejection, (error) => Effect.fail(error), () => Effect.succeed("stale"))
      )
      const Orders = HttpApiBuilder.group(Api, "orders", (handlers) => handlers.handle("read", () => read))
      const routes = Layer.provide(HttpApiBuilder.layer(Api), [Orders, HttpServer.layerServices])
      const { dispose, handler } = HttpRouter.toWebHandler(routes, { disableLogger: true })
      yield* Effect.addFinalizer(() => Effect.promise(dispose))
      const answer = Effect.promise(() => handler(new Request("http://localhost/orders"), Context.empty()))
      assert.strictEqual((yield* answer).status, 200)
      const opened = yield* answer
      const body = yield* Effect.promise(() => opened.text())
      assert.strictEqual(opened.status, 503)
      assert.deepStrictEqual(JSON.parse(body), {
        _tag: "BreakerOpenError",
        circuit: "orders",
        state: "Open",
        openedBy: "instance",
        retryAfter: 30_000
      })
      yield* breaker.override({ mode: "ForcedOpen", reason: "incident 42", actor: "a" })
      const forced = yield* answer
      assertNoSecret(yield* Effect.promise(() => forced.text()))
    }))

  it.effect("a log line of the library's own has the text of a storage's failure, and none of its other fields (F5)", () =>
    Effect.gen(function*() {
      const failures = [upstream(), new AggregateError([upstream()], "none of a, b answered")]
      for (const cause of failures) {
        const error = new Storage.StorageError({ operation: "sync", circuit: "c", reason: "Unavailable", cause })
        const lines: Array<string> = []
        const line = Logger.map(Logger.formatJson, (text) => {
          lines.push(text)
        })
        const logged = Effect.annotateLogs(Effect.logError("Failed"), { cause: loggedError(error) })
        yield* Effect.provide(logged, Logger.layer([line]))
        const { annotations: { cause: shown } } = JSON.parse(lines[0]!)
        assert.deepInclude(shown, { _tag: "StorageError", operation: "sync", circuit: "c", reason: "Unavailable" })
        assert.include(shown.cause, "connect ECONNREFUSED db-7.internal")
        assert.notInclude(lines[0], "x-api-key")
        assert.notInclude(lines[0], "s3cr3t")
      }
    }))
})
