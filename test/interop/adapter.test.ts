import { assert, describe, it } from "@effect/vitest"
import { Data, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Outcome } from "../../src/index.ts"
import * as Adapter from "../../src/interop/Adapter.ts"
import { clientOf } from "../http/support.ts"
import { withReports } from "../utils.ts"

/** A breaker in two steps that notes what it is told. */
const noting = (mayRun: () => boolean = () => true) => {
  const told: Array<string> = []
  const at = (call: Adapter.Call, duration: Duration.Duration) =>
    [call.circuit, call.method, call.url, call.status, `${Duration.toMillis(duration)} ms`].filter((part) =>
      part !== undefined
    ).join(" ")
  const guard = Adapter.twoStep("mine", {
    before: () => {
      told.push("before")
      return mayRun()
    },
    success: (call, duration) => {
      told.push(`success ${at(call, duration)}`)
    },
    failure: (call, error, duration) =>
      Effect.sync(() => {
        told.push(`failure ${at(call, duration)}: ${error instanceof Error ? error.message : typeof error}`)
      }),
    ignored: (call, duration) => {
      told.push(`ignored ${at(call, duration)}`)
    },
    mayI: mayRun
  })
  return { guard, told }
}

class Declined extends Data.TaggedError("Declined")<{ readonly message: string }> {}

describe("an adapted breaker", () => {
  it.effect("is told how each call ended, and how long it took", () =>
    Effect.gen(function*() {
      const { guard, told } = noting()
      const slow = yield* Effect.forkChild(guard.wrapWith(Effect.sleep("2 seconds"), {}), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(slow)
      yield* Effect.flip(guard.wrapWith(Effect.fail(new Declined({ message: "no" })), {}))
      yield* Effect.exit(guard.wrapWith(Effect.fail("mine"), { classify: () => Outcome.ignored }))
      const given = yield* Effect.forkChild(guard.wrapWith(Effect.never, {}), { startImmediately: true })
      yield* Fiber.interrupt(given)
      assert.deepStrictEqual(told, [
        "before",
        "success mine 2000 ms",
        "before",
        "failure mine 0 ms: no",
        "before",
        "ignored mine 0 ms",
        "before",
        "ignored mine 0 ms"
      ])
    }))

  it.effect("that refuses is asked nothing else, and the call is not made", () =>
    Effect.gen(function*() {
      const { guard, told } = noting(() => false)
      const error = yield* Effect.flip(guard.wrapWith(Effect.die("ran"), {}))
      assert.instanceOf(error, Adapter.ForeignOpenError)
      assert.instanceOf(yield* Effect.flip(Effect.scoped(guard.permit)), Adapter.ForeignOpenError)
      assert.deepStrictEqual(told, ["before", "before"])
      assert.strictEqual(guard.mayI?.(), false)
    }))

  it.effect("gives permits, which settle once", () =>
    Effect.gen(function*() {
      const { guard, told } = noting()
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* guard.permit
        assert.isTrue(yield* permit.settleExit(Exit.fail(new Declined({ message: "no" }))))
        assert.isFalse(yield* permit.settle(Outcome.success))
      }))
      yield* Effect.scoped(guard.permit)
      assert.deepStrictEqual(told, ["before", "failure mine 0 ms: no", "before", "ignored mine 0 ms"])
    }))

  it.effect("that throws never changes a call, and is reported", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const broken = () => {
          throw new Error("broken")
        }
        const guard = Adapter.twoStep("broken", { before: broken, success: broken, failure: broken })
        assert.strictEqual(yield* guard.wrapWith(Effect.succeed(1), {}), 1)
        assert.strictEqual(yield* Effect.flip(guard.wrapWith(Effect.fail("mine"), {})), "mine")
        assert.strictEqual(reports.length, 4)
        assert.include(reports[0]!.message, "A function of an adapted breaker failed")
      })
    ))

  it.effect("goes behind an HTTP client, and is told method, URL and status", () =>
    Effect.gen(function*() {
      const { guard, told } = noting()
      const { client } = yield* clientOf(({ url }) => ({ status: url.endsWith("sick") ? 503 : 200 }))
      const guarded = BreakerHttpClient.withBreaker(client, guard)
      yield* guarded.get("https://a.test/well")
      yield* guarded.post("https://a.test/sick")
      const end = BreakerHttpClient.withBreaker(client, guard, { bodies: "end" })
      yield* Effect.flatMap(end.get("https://a.test/body"), ({ text }) => text)
      assert.deepStrictEqual(told, [
        "before",
        "success mine GET https://a.test/well 200 0 ms",
        "before",
        "failure mine POST https://a.test/sick 503 0 ms: object",
        "before",
        "success mine GET https://a.test/body 0 ms"
      ])
    }))

  it.effect("a rejection by it is ignored by an outer breaker", () =>
    Effect.gen(function*() {
      const { guard } = noting(() => false)
      const error = yield* Effect.flip(guard.wrapWith(Effect.void, {}))
      assert.strictEqual(Outcome.fromExit(Exit.fail(error))._tag, "Ignored")
      assert.isFalse(Breaker.isRejection(error))
    }))
})
