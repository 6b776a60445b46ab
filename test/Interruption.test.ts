import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scheduler } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Trip } from "../src/index.ts"
import { failTimes, make, untilQuiet } from "./utils.ts"

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

const slowly = () => Effect.as(Effect.never, Outcome.success)

const policies = {
  "a plain policy": {},
  "a timeout": { timeout: "1 minute" },
  "a bulkhead": { maxConcurrent: 1 },
  "a slow-call policy": { trip: Trip.slowCallRate({ slowerThan: "1 second", threshold: 1, lastCalls: 10 }) },
  "a timeout and a bulkhead": { timeout: "1 minute", maxConcurrent: 1 },
  "an effectful classify": { classify: () => Effect.as(Effect.yieldNow, Outcome.failure()), maxConcurrent: 1 }
} as const

for (const [which, policy] of Object.entries(policies)) {
  describe(`interruption from outside, with ${which}`, () => {
    it.effect(`interruption during a call counts as ignored and frees its place (${which})`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("running", policy)
        yield* failTimes(breaker, 1)
        for (let i = 0; i < 10; i++) {
          const fiber = yield* fork(breaker.wrap(Effect.never))
          yield* Fiber.interrupt(fiber)
          assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        }
        assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 10, failure: 1, consecutiveFailures: 1 })
        yield* Effect.ignore(breaker.wrap(Effect.void))
        assert.strictEqual((yield* breaker.snapshot).statistics.rejected, 0)
      }))

    it.effect(`interruption of a fiber that never began counts for nothing (${which})`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("before", policy)
        const fiber = yield* Effect.forkChild(breaker.wrap(Effect.never))
        yield* Fiber.interrupt(fiber)
        assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 0, failure: 0, success: 0 })
        yield* Effect.ignore(breaker.wrap(Effect.void))
        assert.strictEqual((yield* breaker.snapshot).statistics.rejected, 0)
      }))

    it.effect(`interruption in half-open frees the probe's place (${which})`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("probing", policy)
        yield* breaker.forceHalfOpen
        for (let i = 0; i < 10; i++) {
          const fiber = yield* fork(breaker.wrap(Effect.never))
          assert.strictEqual((yield* Effect.exit(breaker.wrap(Effect.void)))._tag, "Failure")
          yield* Fiber.interrupt(fiber)
        }
        assert.strictEqual(yield* breaker.state, "HalfOpen")
        yield* breaker.wrapWith(Effect.void, { classify: () => Outcome.success })
        assert.strictEqual(yield* breaker.state, "Closed")
      }))

    it.effect(`interruption during an effectful classify counts as ignored, and frees permit and place (${which})`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("classifying", { ...policy, classify: slowly })
        yield* breaker.forceHalfOpen
        for (let i = 0; i < 10; i++) {
          const fiber = yield* fork(breaker.wrap(Effect.succeed("done")))
          yield* Fiber.interrupt(fiber)
          assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        }
        assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 10, success: 0, rejected: 0 })
        yield* breaker.wrapWith(Effect.void, { classify: () => Outcome.success })
        assert.strictEqual(yield* breaker.state, "Closed")
      }))

    it.effect(`interruption waits in an uninterruptible caller, and the call's outcome counts (${which})`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("shielded", { ...policy, classify: undefined })
        const gate = yield* Deferred.make<string>()
        const fiber = yield* fork(Effect.uninterruptible(Effect.exit(breaker.wrap(Deferred.await(gate)))))
        const interruption = yield* fork(Fiber.interrupt(fiber))
        yield* Deferred.succeed(gate, "ok")
        yield* Fiber.join(interruption)
        assert.deepInclude((yield* breaker.snapshot).statistics, { success: 1, ignored: 0 })
      }))

    it.effect(`interruption with a failure in the same cause counts as a failure (${which})`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("mixed", { ...policy, classify: undefined })
        const dies = Effect.onInterrupt(Effect.never, () => Effect.die("in a finalizer"))
        const fiber = yield* fork(breaker.wrap(dies))
        yield* Fiber.interrupt(fiber)
        assert.deepInclude((yield* breaker.snapshot).statistics, { failure: 1, ignored: 0 })
      }))
  })
}

// A fiber that yields after every operation makes no progress, so it yields after every second or third, in turns.

/** Mulberry32. */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

describe("interruption between any two steps", () => {
  const stressed = {
    "probes": { halfOpen: { probes: 3, successes: 1_000_000, lease: "1 hour" } },
    "probes with a timeout": { halfOpen: { probes: 3, successes: 1_000_000, timeout: "1 hour" } },
    "a bulkhead": { maxConcurrent: 3 },
    "a bulkhead with a timeout": { maxConcurrent: 3, timeout: "1 hour" },
    "all at once": { maxConcurrent: 3, timeout: "1 hour", halfOpen: { probes: 3, successes: 1_000_000 } }
  } as const
  for (const [which, policy] of Object.entries(stressed)) {
    for (const seed of [1, 2, 3]) {
      it.effect(`interruption between any two steps leaks no permit, place or fiber: ${which}, seed ${seed}`, () =>
        Effect.gen(function*() {
          const next = random(seed)
          const breaker = yield* make("stress", { ...policy, trip: Trip.consecutiveFailures(1_000_000) })
          const probing = "halfOpen" in policy
          if (probing) yield* breaker.forceHalfOpen
          let running = 0
          const body = Effect.gen(function*() {
            const steps = Math.floor(next() * 6)
            for (let i = 0; i < steps; i++) yield* Effect.yieldNow
            return "done"
          })
          const tracked = Effect.acquireUseRelease(
            Effect.sync(() => running++),
            () => body,
            () => Effect.sync(() => running--)
          )
          const classify = () => Effect.as(Effect.yieldNow, next() < 0.5 ? Outcome.success : Outcome.ignored)
          const call = Effect.suspend(() =>
            next() < 0.5 ? breaker.wrap(tracked) : breaker.wrapWith(tracked, { classify })
          )
          let interrupted = 0
          for (let round = 0; round < 300; round++) {
            const fiber = yield* Effect.exit(call).pipe(
              Effect.provideService(Scheduler.MaxOpsBeforeYield, 2 + Math.floor(next() * 2)),
              Effect.forkChild
            )
            const steps = Math.floor(next() * 40)
            for (let i = 0; i < steps; i++) yield* Effect.yieldNow
            if (fiber.pollUnsafe() === undefined) interrupted++
            if (next() < 0.5) yield* Fiber.interrupt(fiber)
            else fiber.interruptUnsafe()
          }
          yield* untilQuiet
          yield* untilQuiet
          assert.isAbove(interrupted, 50)
          assert.strictEqual(running, 0)
          const gate = yield* Deferred.make<void>()
          const fibers = yield* Effect.forEach(
            [1, 2, 3, 4],
            () => fork(Effect.exit(breaker.wrap(Deferred.await(gate))))
          )
          assert.deepStrictEqual(fibers.map((fiber) => fiber.pollUnsafe() === undefined), [true, true, true, false])
          yield* Deferred.succeed(gate, undefined)
          yield* Effect.forEach(fibers, Fiber.join)
          yield* TestClock.adjust("2 hours")
          assert.deepInclude((yield* breaker.snapshot).statistics, { failure: 0, timeout: 0 })
        }))
    }
  }

  it.effect("every admitted call is settled once under interruption, as success, failure or ignored", () =>
    Effect.gen(function*() {
      const next = random(7)
      const breaker = yield* make("once", { timeout: "1 hour", trip: Trip.consecutiveFailures(1_000_000) })
      let admitted = 0
      const call = breaker.wrap(Effect.suspend(() => {
        admitted++
        const end = next() < 0.5 ? Effect.void : Effect.fail("no")
        return Effect.andThen(Effect.yieldNow, end)
      }))
      for (let round = 0; round < 300; round++) {
        const fiber = yield* Effect.exit(call).pipe(
          Effect.provideService(Scheduler.MaxOpsBeforeYield, 2 + Math.floor(next() * 2)),
          Effect.forkChild
        )
        for (let i = Math.floor(next() * 40); i > 0; i--) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
      }
      const { failure, ignored, success } = (yield* breaker.snapshot).statistics
      assert.isAbove(admitted, 100)
      assert.isAtLeast(success + failure + ignored, admitted)
      assert.isAtMost(success + failure + ignored, 300)
    }))
})

it.effect("a breaker below an interrupted scope rejects as before", () =>
  Effect.gen(function*() {
    const breaker = yield* make("after", { trip: Trip.consecutiveFailures(1) })
    yield* failTimes(breaker, 1)
    const fiber = yield* fork(Effect.andThen(Effect.exit(breaker.wrap(Effect.void)), Effect.never))
    yield* Fiber.interrupt(fiber)
    assert.instanceOf(yield* Effect.flip(breaker.wrap(Effect.void)), Breaker.BreakerOpenError)
  }))
