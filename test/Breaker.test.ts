import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Result, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Trip } from "../src/index.ts"
import { type Link, processes } from "./support/storages.ts"
import { failTimes, make, rejectionOf } from "./utils.ts"

const rate = Trip.failureRate({ threshold: 0.5, within: "1 hour", minimumCalls: 4 })
const trips = {
  "a streak": Trip.consecutiveFailures(3),
  "a window of time": rate,
  "a window of calls": Trip.failureRate({ threshold: 0.5, lastCalls: 10, minimumCalls: 4 })
}

const two = { trip: Trip.consecutiveFailures(2), openFor: "30 seconds" } as const

describe("a circuit", () => {
  it.effect("a circuit opens, takes a probe after the open time to the millisecond, and closes", () =>
    Effect.gen(function*() {
      const breaker = yield* make("life", two)
      assert.strictEqual(yield* breaker.wrap(Effect.succeed(1)), 1)
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* breaker.state, "Closed")
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* breaker.state, "Open")
      yield* TestClock.adjust(29_999)
      yield* rejectionOf(breaker)
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* breaker.wrap(Effect.andThen(Effect.void, breaker.state)), "HalfOpen")
      assert.strictEqual(yield* breaker.state, "Closed")
      const { statistics } = yield* breaker.snapshot
      assert.deepInclude(statistics, { success: 2, failure: 2, rejected: 1, timesOpened: 1, consecutiveFailures: 0 })
    }))

  it.effect("a circuit fails with the call's own error, exit and defect", () =>
    Effect.gen(function*() {
      const breaker = yield* make("own", { trip: Trip.consecutiveFailures(5) })
      assert.strictEqual(yield* Effect.flip(breaker.wrap(Effect.fail("e"))), "e")
      const died = yield* Effect.exit(breaker.wrap(Effect.die("d")))
      assert.deepStrictEqual(died, Exit.die("d"))
      const thrown = yield* Effect.exit(breaker.wrap(Effect.sync(() => {
        throw new RangeError("t")
      })))
      assert.isTrue(Exit.hasDies(thrown))
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 3)
    }))

  it.effect("a circuit opens by default after 5 consecutive failures, for 60 seconds", () =>
    Effect.gen(function*() {
      const breaker = yield* make("defaults", {})
      yield* failTimes(breaker, 4)
      yield* breaker.wrap(Effect.void)
      yield* failTimes(breaker, 4)
      assert.strictEqual(yield* breaker.state, "Closed")
      yield* failTimes(breaker, 1)
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(60))
    }))

  it.effect("reading a circuit changes nothing: it stays Open after its open time until the next call", () =>
    Effect.gen(function*() {
      const breaker = yield* make("reads", two)
      yield* failTimes(breaker, 2)
      yield* TestClock.adjust("1 hour")
      for (let i = 0; i < 3; i++) {
        assert.strictEqual(yield* breaker.state, "Open")
        assert.deepStrictEqual((yield* breaker.snapshot).retryAfter, Duration.zero)
      }
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("a circuit trips on a failure rate over time, and a success can complete the minimum of calls", () =>
    Effect.gen(function*() {
      const trip = Trip.failureRate({ threshold: 0.5, within: "10 seconds", minimumCalls: 4 })
      const breaker = yield* make("rate", { trip })
      yield* failTimes(breaker, 3)
      yield* TestClock.adjust("10 seconds")
      yield* failTimes(breaker, 2)
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("a success after an idle gap counts in the window of its own time", () =>
    Effect.gen(function*() {
      const trip = Trip.failureRate({ threshold: 0.5, within: "1 minute", minimumCalls: 2 })
      const breaker = yield* make("gap", { trip })
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("59 seconds")
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("30 seconds")
      const [window] = (yield* breaker.snapshot).windows
      assert.deepInclude(window, { calls: 1, failures: 0 })
    }))

  it.effect("a circuit trips on slow calls that succeed", () =>
    Effect.gen(function*() {
      const trip = Trip.slowCallRate({ threshold: 1, slowerThan: "1 second", lastCalls: 2, minimumCalls: 2 })
      const breaker = yield* make("slow", { trip })
      for (const millis of [999, 1000, 1000]) {
        const fiber = yield* Effect.forkChild(breaker.wrap(Effect.sleep(millis)), { startImmediately: true })
        yield* TestClock.adjust(millis)
        yield* Fiber.join(fiber)
      }
      assert.strictEqual(yield* breaker.state, "Open")
      const { lastFailureDuration, lastSuccessDuration, ...statistics } = (yield* breaker.snapshot).statistics
      assert.deepInclude(statistics, { success: 3, failure: 0, slow: 2 })
      assert.deepEqual([lastSuccessDuration, lastFailureDuration], [1000, undefined])
    }))
})

describe("a rejection", () => {
  it.effect("a rejection has no lastFailure where the last failure is undefined", () =>
    Effect.gen(function*() {
      for (const policy of [{}, { timeout: "1 second" }] as const) {
        const breaker = yield* make("undefined", { ...policy, trip: Trip.consecutiveFailures(2) })
        yield* Effect.exit(breaker.wrap(Effect.fail("the first")))
        yield* Effect.exit(breaker.wrap(Effect.fail(undefined)))
        assert.notProperty(yield* rejectionOf(breaker), "lastFailure")
      }
    }))

  it.effect("a rejection runs nothing, and has the reason, the time and the evidence of the opening", () =>
    Effect.gen(function*() {
      const breaker = yield* make("why", two)
      yield* failTimes(breaker, 1, "first")
      yield* failTimes(breaker, 1, "second")
      const error = yield* rejectionOf(breaker)
      assert.strictEqual(error.circuit, "why")
      assert.strictEqual(error.state, "Open")
      assert.strictEqual(error.openedBy, "instance")
      assert.strictEqual(error.lastFailure, "second")
      assert.strictEqual(error.reason, "2 consecutive failures")
      assert.strictEqual(error.message, "Circuit \"why\" is open: 2 consecutive failures (retry after 30 s)")
      assert.strictEqual(error.name, "effect-breaker/Breaker/BreakerOpenError")
    }))

  it.effect("a rejection's retryAfter is computed when it is read, and is never negative", () =>
    Effect.gen(function*() {
      const breaker = yield* make("after", two)
      yield* failTimes(breaker, 2)
      const error = yield* rejectionOf(breaker)
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(30))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(20))
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(20))
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(error.retryAfter, Duration.zero)
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(error.retryAfter, Duration.zero)
    }))

  it.effect("a rejection has no retryAfter once its circuit has closed early", () =>
    Effect.gen(function*() {
      const breaker = yield* make("early", two)
      yield* failTimes(breaker, 2)
      const open = yield* rejectionOf(breaker)
      yield* breaker.reset
      assert.deepStrictEqual(open.retryAfter, Duration.zero)
    }))

  it.effect("a rejection has the failure that opened the circuit as lastFailure, not a later one", () =>
    Effect.gen(function*() {
      const breaker = yield* make("opened", two)
      const gate = yield* Deferred.make<never, string>()
      const late = yield* Effect.forkChild(breaker.wrap(Deferred.await(gate)), { startImmediately: true })
      yield* failTimes(breaker, 2, "the cause")
      yield* Deferred.fail(gate, "too late")
      yield* Fiber.await(late)
      assert.strictEqual((yield* rejectionOf(breaker)).lastFailure, "the cause")
    }))

  it.effect("a rejection has no lastFailure once a reset has cleared it", () =>
    Effect.gen(function*() {
      const breaker = yield* make("cleared", two)
      yield* failTimes(breaker, 2)
      yield* breaker.reset
      yield* breaker.forceHalfOpen
      const probe = yield* Effect.forkChild(breaker.wrap(Effect.never), { startImmediately: true })
      const error = yield* rejectionOf(breaker)
      assert.strictEqual(error.state, "HalfOpen")
      assert.isFalse("lastFailure" in error && error.lastFailure !== undefined)
      yield* Fiber.interrupt(probe)
    }))

  for (const [what, trip] of Object.entries(trips)) {
    it.effect(`a rejection has no failure of a streak that a success has ended, with ${what} (F3)`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("ended", { trip })
        yield* failTimes(breaker, 1, "yesterday")
        yield* breaker.wrap(Effect.void)
        yield* breaker.forceHalfOpen
        yield* Effect.forkChild(breaker.wrap(Effect.never), { startImmediately: true })
        const error = yield* rejectionOf(breaker)
        assert.deepInclude(error, { state: "HalfOpen", reason: "forced half-open" })
        assert.notProperty(error, "lastFailure")
      }))

    it.effect(`a rejection after forceHalfOpen has no failure of yesterday, with ${what} (F3)`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("yesterday", { trip })
        yield* failTimes(breaker, 1, "yesterday")
        yield* TestClock.adjust("1 day")
        yield* breaker.forceHalfOpen
        yield* Effect.forkChild(breaker.wrap(Effect.never), { startImmediately: true })
        assert.notProperty(yield* rejectionOf(breaker), "lastFailure")
      }))
  }

  it.effect("a rejection has the failure that opened the circuit where a success tripped it (F3)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("tripped", { trip: rate })
      yield* failTimes(breaker, 3, "the cause")
      yield* breaker.wrap(Effect.void)
      assert.strictEqual((yield* rejectionOf(breaker)).lastFailure, "the cause")
    }))

  it.effect("a rejection by the fleet's evidence has this instance's last failure if it is of the last minute (F3)", () =>
    Effect.gen(function*() {
      const [one, other] = (yield* processes(2)) as [Link, Link]
      const policy = { trip: Trip.failures({ count: 3, within: "1 hour" }), openFor: "1 hour" } as const
      const lastFailures: Array<unknown> = []
      for (const [name, age] of [["recent", "50 seconds"], ["old", "70 seconds"]] as const) {
        const here = yield* one.make(name, policy)
        const there = yield* other.make(name, policy)
        yield* failTimes(here, 1, "here")
        yield* TestClock.adjust(age)
        yield* failTimes(there, 2, "there")
        yield* TestClock.adjust("5 seconds")
        const error = yield* rejectionOf(here)
        assert.strictEqual(error.openedBy, "fleet")
        lastFailures.push(error.lastFailure)
      }
      assert.deepStrictEqual(lastFailures, ["here", undefined])
    }))

  it.effect("a rejection is not counted in any window", () =>
    Effect.gen(function*() {
      const trip = Trip.failureRate({ threshold: 0.5, lastCalls: 2, minimumCalls: 2 })
      const breaker = yield* make("uncounted", { trip })
      yield* failTimes(breaker, 2)
      for (let i = 0; i < 10; i++) yield* rejectionOf(breaker)
      const { statistics, windows } = yield* breaker.snapshot
      assert.deepInclude(statistics, { failure: 2, rejected: 10 })
      assert.deepInclude(windows[0], { calls: 0 })
    }))
})

describe("late results", () => {
  const straggler = (ends: Exit.Exit<string, string>, policy: Breaker.Policy) =>
    Effect.gen(function*() {
      const breaker = yield* make("late", policy)
      const gate = yield* Deferred.make<string, string>()
      const late = yield* Effect.forkChild(breaker.wrap(Deferred.await(gate)), { startImmediately: true })
      const end = Effect.andThen(Deferred.done(gate, ends), Fiber.await(late))
      return { breaker, end }
    })

  for (const [how, policy] of [["straight", two], ["permitted", { ...two, timeout: "10 minutes" }]] as const) {
    it.effect(`the late result of a call admitted when Closed changes nothing when Open, and its caller gets it (${how})`, () =>
      Effect.gen(function*() {
        const { breaker, end } = yield* straggler(Exit.succeed("ok"), policy)
        yield* failTimes(breaker, 2)
        assert.deepStrictEqual(yield* end, Exit.succeed("ok"))
        assert.strictEqual(yield* breaker.state, "Open")
        assert.strictEqual((yield* breaker.snapshot).statistics.success, 1)
      }))

    for (const ends of [Exit.succeed("ok"), Exit.fail("no")]) {
      it.effect(`the late ${ends._tag} of a call admitted when Closed changes nothing when HalfOpen (${how})`, () =>
        Effect.gen(function*() {
          const { breaker, end } = yield* straggler(ends, policy)
          yield* failTimes(breaker, 2)
          yield* TestClock.adjust("30 seconds")
          const probe = yield* Effect.forkChild(breaker.wrap(Effect.never), { startImmediately: true })
          assert.strictEqual(yield* breaker.state, "HalfOpen")
          assert.deepStrictEqual(yield* end, ends)
          assert.strictEqual(yield* breaker.state, "HalfOpen")
          assert.strictEqual((yield* rejectionOf(breaker)).state, "HalfOpen")
          yield* Fiber.interrupt(probe)
        }))
    }

    it.effect(`a late success of an earlier Closed does not end a streak of failures in the next (${how})`, () =>
      Effect.gen(function*() {
        const { breaker, end } = yield* straggler(Exit.succeed("ok"), policy)
        yield* breaker.reset
        yield* failTimes(breaker, 1)
        yield* end
        yield* failTimes(breaker, 1)
        assert.strictEqual(yield* breaker.state, "Open")
      }))

    it.effect(`a late failure of an earlier Closed does not count in the next (${how})`, () =>
      Effect.gen(function*() {
        const { breaker, end } = yield* straggler(Exit.fail("no"), policy)
        yield* failTimes(breaker, 2)
        yield* breaker.reset
        yield* failTimes(breaker, 1)
        yield* end
        assert.strictEqual(yield* breaker.state, "Closed")
        yield* failTimes(breaker, 1)
        assert.strictEqual(yield* breaker.state, "Open")
      }))
  }
})

describe("late results in a window", () => {
  for (const timeout of [undefined, "10 minutes"] as const) {
    it.effect(`a late result of an earlier Closed is not in the next one's window (timeout ${timeout})`, () =>
      Effect.gen(function*() {
        const trip = Trip.failureRate({ threshold: 0.5, lastCalls: 4, minimumCalls: 4 })
        const breaker = yield* make("late-window", { trip, timeout })
        const gate = yield* Deferred.make<void>()
        const late = yield* Effect.forkChild(breaker.wrap(Deferred.await(gate)), { startImmediately: true })
        yield* breaker.reset
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(late)
        const { statistics, windows } = yield* breaker.snapshot
        assert.deepStrictEqual([windows[0]?.calls, statistics.success], [0, 1])
      }))
  }
})

describe("nested breakers", () => {
  it.effect("an outer breaker does not count the rejection of an inner one", () =>
    Effect.gen(function*() {
      const inner = yield* make("inner", two)
      const outer = yield* make("outer", two)
      const call = Effect.fail("boom").pipe(inner.wrap, outer.wrap)
      yield* failTimes(inner, 2)
      for (let i = 0; i < 5; i++) assert.instanceOf(yield* Effect.flip(call), Breaker.BreakerOpenError)
      assert.strictEqual(yield* outer.state, "Closed")
      assert.deepInclude((yield* outer.snapshot).statistics, { failure: 0, ignored: 5 })
    }))

  it.effect("nested breakers each count the call's own failure", () =>
    Effect.gen(function*() {
      const inner = yield* make("inner-2", two)
      const outer = yield* make("outer-2", two)
      yield* failTimes({ wrap: (self) => outer.wrap(inner.wrap(self)) }, 2)
      assert.strictEqual(yield* inner.state, "Open")
      assert.strictEqual(yield* outer.state, "Open")
    }))

  it.effect("a retry outside of a breaker runs the call until the circuit opens, and no further", () =>
    Effect.gen(function*() {
      let ran = 0
      let attempts = 0
      const breaker = yield* make("retried", { trip: Trip.consecutiveFailures(3) })
      const call = breaker.wrap(Effect.suspend(() => Effect.fail(`boom ${++ran}`)))
      const attempt = Effect.suspend(() => {
        attempts++
        return call
      })
      yield* Effect.result(Effect.retry(attempt, Schedule.recurs(6)))
      assert.deepStrictEqual([attempts, ran], [7, 3])
    }))

  it.effect("a breaker can be nested deeply inside itself", () =>
    Effect.gen(function*() {
      const breaker = yield* make("deep", { timeout: "1 minute" })
      const down = (n: number): Effect.Effect<number, unknown> =>
        n === 0 ? Effect.succeed(0) : breaker.wrap(Effect.suspend(() => Effect.map(down(n - 1), (m) => m + 1)))
      assert.deepStrictEqual(yield* Effect.result(down(100)), Result.succeed(100))
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 100)
    }))
})
