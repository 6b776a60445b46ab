import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Trip } from "../src/index.ts"
import { failTimes, make, makeKeyed, untilQuiet } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

describe("a permit", () => {
  it.effect("settles once, and the first settlement wins", () =>
    Effect.gen(function*() {
      const breaker = yield* make("first", one)
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* breaker.permit
        assert.isTrue(yield* permit.settle(Outcome.success))
        assert.isFalse(yield* permit.settle(Outcome.failure()))
      }))
      const { statistics } = yield* breaker.snapshot
      assert.strictEqual(statistics.success, 1)
      assert.strictEqual(statistics.failure, 0)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("is given back as ignored when its scope closes", () =>
    Effect.gen(function*() {
      const breaker = yield* make("unsettled", { ...one, maxConcurrent: 1 })
      yield* Effect.scoped(breaker.permit)
      yield* Effect.scoped(breaker.permit)
      assert.strictEqual((yield* breaker.snapshot).statistics.ignored, 2)
      const fiber = yield* fork(Effect.scoped(Effect.andThen(breaker.permit, Effect.never)))
      assert.instanceOf(yield* Effect.flip(Effect.scoped(breaker.permit)), Breaker.BulkheadFullError)
      yield* Fiber.interrupt(fiber)
      yield* Effect.scoped(breaker.permit)
    }))

  it.effect("opens the circuit by a failure, and is refused by an open one", () =>
    Effect.gen(function*() {
      const breaker = yield* make("opens", one)
      const hint = Outcome.failure({ retryAfter: "1 minute" })
      yield* Effect.scoped(Effect.flatMap(breaker.permit, (permit) => permit.settle(hint)))
      const error = yield* Effect.flip(Effect.scoped(breaker.permit))
      assert.instanceOf(error, Breaker.BreakerOpenError)
      assert.strictEqual(Duration.toSeconds((error as Breaker.BreakerOpenError).retryAfter!), 60)
    }))

  it.effect("of an older round does not count", () =>
    Effect.gen(function*() {
      const breaker = yield* make("late", one)
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* breaker.permit
        yield* failTimes(breaker, 1)
        yield* TestClock.adjust("10 seconds")
        yield* breaker.wrap(Effect.void)
        assert.isFalse(yield* permit.settle(Outcome.failure()))
      }))
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("of a probe closes the circuit, and says how long its place is its own", () =>
    Effect.gen(function*() {
      const breaker = yield* make("probe", one)
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("10 seconds")
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* breaker.permit
        assert.isTrue(permit.probe)
        assert.strictEqual(Duration.toSeconds(permit.remaining!), 30)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(Duration.toSeconds(permit.remaining!), 20)
        assert.isTrue(yield* permit.settleExit(Exit.void))
      }))
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("settles by the policy's classify, and by its own timeout", () =>
    Effect.gen(function*() {
      const classify = (exit: Exit.Exit<unknown, unknown>) =>
        Effect.succeed(Exit.isFailure(exit) ? Outcome.ignored : Outcome.success)
      const breaker = yield* make("classified", { ...one, classify, timeout: "2 seconds" })
      const settled = (exit: Exit.Exit<unknown, unknown>) =>
        Effect.scoped(Effect.flatMap(breaker.permit, (permit) => permit.settleExit(exit)))
      yield* settled(Exit.fail("no"))
      yield* settled(Exit.interrupt())
      assert.strictEqual((yield* breaker.snapshot).statistics.ignored, 2)
      const timeout = Duration.seconds(2)
      yield* settled(Exit.fail(new Breaker.BreakerTimeoutError({ circuit: "classified", timeout })))
      const { statistics } = yield* breaker.snapshot
      assert.strictEqual(statistics.timeout, 1)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("past the breaker records nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* make("bypassed", one)
      yield* failTimes(breaker, 1)
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* Breaker.bypass(breaker.permit)
        assert.isFalse(yield* permit.settle(Outcome.failure()))
      }))
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 1)
    }))

  it.effect("of a keyed breaker is of its key's circuit", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("keyed", one)
      yield* Effect.scoped(Effect.flatMap(keyed.permit({ key: "a" }), (permit) => permit.settle(Outcome.failure())))
      assert.instanceOf(yield* Effect.flip(Effect.scoped(keyed.permit({ key: "a" }))), Breaker.BreakerOpenError)
      yield* Effect.scoped(keyed.permit({ key: "b" }))
    }))
})

describe("waiting for a permit", () => {
  it.effect("ends when the circuit takes a probe", () =>
    Effect.gen(function*() {
      const breaker = yield* make("waits", one)
      yield* failTimes(breaker, 1)
      const fiber = yield* fork(Effect.scoped(Effect.map(breaker.awaitPermit, ({ probe }) => probe)))
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(yield* Fiber.join(fiber))
      // Waiting is no call, so nobody was refused.
      assert.strictEqual((yield* breaker.snapshot).statistics.rejected, 0)
    }))

  it.effect("lets through one of many, and the rest once its probe has succeeded", () =>
    Effect.gen(function*() {
      const breaker = yield* make("many", one)
      yield* failTimes(breaker, 1)
      const given: Array<Breaker.Permit> = []
      const waiter = Effect.scoped(Effect.gen(function*() {
        given.push(yield* breaker.awaitPermit)
        return yield* Effect.never
      }))
      for (let n = 0; n < 100; n++) yield* fork(waiter)
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual(given.length, 1)
      yield* given[0]!.settle(Outcome.success)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(given.length, 100)
    }))

  it.effect("ends early when an operator closes the circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* make("reset", one)
      yield* failTimes(breaker, 1)
      const fiber = yield* fork(Effect.scoped(breaker.awaitPermit))
      yield* breaker.reset
      yield* TestClock.adjust("1 second")
      assert.isFalse((yield* Fiber.join(fiber)).probe)
    }))

  it.effect("ends when a place in the bulkhead is free", () =>
    Effect.gen(function*() {
      const breaker = yield* make("place", { maxConcurrent: 1 })
      const scope = yield* Scope.make()
      yield* Scope.provide(breaker.permit, scope)
      const fiber = yield* fork(Effect.scoped(breaker.awaitPermit))
      yield* untilQuiet
      assert.isUndefined(fiber.pollUnsafe())
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(fiber)
    }))

  it.effect("one that gives up leaves its turn to the next", () =>
    Effect.gen(function*() {
      const breaker = yield* make("gives-up", one)
      yield* failTimes(breaker, 1)
      const first = yield* fork(Effect.scoped(breaker.awaitPermit))
      const second = yield* fork(Effect.scoped(breaker.awaitPermit))
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("12 seconds")
      yield* Fiber.join(second)
    }))
})
