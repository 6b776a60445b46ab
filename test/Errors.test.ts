import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schema, SchemaAST } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { failTimes, make, rejectionOf } from "./utils.ts"

const roundTrip = <A, I>(schema: Schema.Codec<A, I>, value: A): A =>
  Schema.decodeUnknownSync(schema)(JSON.parse(JSON.stringify(Schema.encodeSync(schema)(value))))

describe("errors", () => {
  it.effect("a rejection survives JSON, with the retryAfter of that moment and the last failure", () =>
    Effect.gen(function*() {
      const breaker = yield* make("json", { trip: Trip.consecutiveFailures(1), openFor: "30 seconds" })
      yield* failTimes(breaker, 1, new Error("the cause"))
      yield* TestClock.adjust("10 seconds")
      const error = yield* rejectionOf(breaker)
      const again = roundTrip(Breaker.BreakerOpenError, error)
      assert.instanceOf(again, Breaker.BreakerOpenError)
      assert.deepInclude(again, { circuit: "json", state: "Open", openedBy: "instance" })
      assert.strictEqual(again.reason, "1 consecutive failures")
      assert.deepStrictEqual(again.retryAfter, Duration.seconds(20))
      assert.instanceOf(again.lastFailure, Error)
      assert.strictEqual(again.lastFailure.message, "the cause")
      assert.strictEqual(again.message, "Circuit \"json\" is open: 1 consecutive failures (retry after 20 s)")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(again.retryAfter, Duration.seconds(20))
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(10))
    }))

  it.effect("a rejection of a forced open circuit survives JSON, without a retryAfter", () =>
    Effect.gen(function*() {
      const breaker = yield* make("forced-json", {})
      yield* breaker.override({ mode: "ForcedOpen", reason: "r", actor: "a" })
      const again = roundTrip(Breaker.BreakerOpenError, yield* rejectionOf(breaker))
      assert.deepInclude(again, { state: "ForcedOpen", openedBy: "override", reason: "r" })
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

  it("isRejection tells a breaker's errors from a call's own", () => {
    const storage = new Storage.StorageError({ operation: "load", reason: "Deadline", cause: "slow" })
    for (const own of [undefined, null, "BreakerOpenError", new Error("no"), { _tag: "NotFound" }, storage]) {
      assert.isFalse(Breaker.isRejection(own))
    }
  })

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
