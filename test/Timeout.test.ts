import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Context, Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Trip } from "../src/index.ts"
import { inBrief, listen, make, untilQuiet } from "./utils.ts"

const policy = { trip: Trip.consecutiveFailures(3), timeout: "2 seconds" } as const

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

describe("a timeout", () => {
  it.effect("a timeout interrupts the call, and its caller gets the error once the finalizers have run", () =>
    Effect.gen(function*() {
      const breaker = yield* make("cooperative", policy)
      const log: Array<string> = []
      const finalizer = Effect.andThen(
        Effect.sync(() => log.push("finalizing")),
        Effect.andThen(Effect.sleep("3 seconds"), Effect.sync(() => log.push("finalized")))
      )
      const fiber = yield* fork(
        Effect.onExit(
          breaker.wrap(Effect.onInterrupt(Effect.never, () => finalizer)),
          () => Effect.sync(() => log.push("received"))
        )
      )
      yield* TestClock.adjust(1999)
      assert.deepStrictEqual(log, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(log, ["finalizing"])
      assert.deepInclude((yield* breaker.snapshot).statistics, { timeout: 1, failure: 1 })
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(log, ["finalizing", "finalized", "received"])
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.instanceOf(error, Breaker.BreakerTimeoutError)
      assert.deepInclude(error, { circuit: "cooperative", timeout: Duration.seconds(2) })
      assert.deepInclude((yield* breaker.snapshot).statistics, { timeout: 1, failure: 1, success: 0, ignored: 0 })
    }))

  it.effect("a timeout closes the scope that the call opened", () =>
    Effect.gen(function*() {
      const breaker = yield* make("scoped", policy)
      let released = false
      const resource = Effect.acquireRelease(Effect.void, () =>
        Effect.sync(() => {
          released = true
        }))
      const fiber = yield* fork(breaker.wrap(Effect.scoped(Effect.andThen(resource, Effect.never))))
      yield* TestClock.adjust("2 seconds")
      yield* Effect.flip(Fiber.join(fiber))
      assert.isTrue(released)
    }))

  for (const late of [Exit.succeed("late"), Exit.fail("late"), Exit.die("late")]) {
    it.effect(`a timeout waits for an uninterruptible region, and discards its late ${String(late)}`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("region", policy)
        const gate = yield* Deferred.make<string, string>()
        const fiber = yield* fork(breaker.wrap(Effect.uninterruptible(Deferred.await(gate))))
        yield* TestClock.adjust("5 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* Deferred.done(gate, late)
        assert.instanceOf(yield* Effect.flip(Fiber.join(fiber)), Breaker.BreakerTimeoutError)
        assert.deepInclude((yield* breaker.snapshot).statistics, { timeout: 1, failure: 1, success: 0, ignored: 0 })
      }))
  }

  it.effect("a timeout interrupts a call in an uninterruptible caller, too", () =>
    Effect.gen(function*() {
      const breaker = yield* make("outer-region", policy)
      const fiber = yield* fork(Effect.uninterruptible(breaker.wrap(Effect.never)))
      yield* TestClock.adjust("2 seconds")
      assert.instanceOf(yield* Effect.flip(Fiber.join(fiber)), Breaker.BreakerTimeoutError)
    }))

  it.effect("timeouts open the circuit, and are published as Timeout events", () =>
    Effect.gen(function*() {
      const breaker = yield* make("opens", policy)
      const received = yield* listen(breaker)
      for (let i = 0; i < 3; i++) {
        const fiber = yield* fork(breaker.wrap(Effect.never))
        yield* TestClock.adjust("2 seconds")
        yield* Effect.flip(Fiber.join(fiber))
      }
      assert.strictEqual(yield* breaker.state, "Open")
      assert.deepStrictEqual((yield* received).map(inBrief), ["Timeout", "Timeout", "Timeout", "Closed > Open"])
    }))

  it.effect("a timeout does not affect a call that ends in time, to the last millisecond", () =>
    Effect.gen(function*() {
      const breaker = yield* make("in-time", policy)
      const ok = yield* fork(breaker.wrap(Effect.as(Effect.sleep(1999), "ok")))
      const no = yield* fork(breaker.wrap(Effect.andThen(Effect.sleep(1999), Effect.fail("no"))))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.await(ok), Exit.succeed("ok"))
      assert.deepStrictEqual(yield* Fiber.await(no), Exit.fail("no"))
      assert.deepInclude((yield* breaker.snapshot).statistics, { success: 1, failure: 1, timeout: 0 })
    }))

  it.effect("a call that ends without waiting starts no timer", () =>
    Effect.gen(function*() {
      const breaker = yield* make("sync", policy)
      let sleeps = 0
      const clock = yield* Effect.clockWith((clock) => Effect.succeed(clock))
      const counting = new Proxy(clock, {
        get: (target, key, receiver) => {
          if (key === "sleep") sleeps++
          return Reflect.get(target, key, receiver)
        }
      })
      const counted = yield* make("counted", policy).pipe(Effect.provideService(Clock.Clock, counting))
      for (let i = 0; i < 10; i++) {
        yield* counted.wrap(Effect.void)
        yield* Effect.exit(counted.wrap(Effect.sync(() => JSON.parse("{"))))
      }
      yield* breaker.wrap(Effect.void)
      // One timer is the tick's, and two are those of the rounds that report failures.
      assert.isAtMost(sleeps, 3)
    }))

  it.effect("calls that began at different times time out in their order", () =>
    Effect.gen(function*() {
      const breaker = yield* make("many", { trip: Trip.consecutiveFailures(1000), timeout: "2 seconds" })
      const order: Array<number> = []
      const at: Array<number> = []
      const clock = yield* Effect.clockWith((clock) => Effect.succeed(clock))
      const begin = (n: number) =>
        fork(
          breaker.wrap(n % 3 === 0 ? Effect.sleep("1 second") : Effect.never).pipe(
            Effect.onError(() =>
              Effect.sync(() => {
                order.push(n)
                at.push(clock.currentTimeMillisUnsafe())
              })
            )
          )
        )
      for (let n = 0; n < 20; n++) {
        yield* begin(n)
        yield* TestClock.adjust(100)
      }
      yield* TestClock.adjust("5 seconds")
      const hung = Array.from({ length: 20 }, (_, n) => n).filter((n) => n % 3 !== 0)
      assert.deepStrictEqual(order, hung)
      assert.deepStrictEqual(at, hung.map((n) => n * 100 + 2000))
      assert.deepInclude((yield* breaker.snapshot).statistics, { timeout: 13, success: 7 })
      const again = yield* begin(1)
      yield* TestClock.adjust("2 seconds")
      assert.isDefined(again.pollUnsafe())
    }))

  it.effect("a call that starts and ends other calls as it times out does no harm", () =>
    Effect.gen(function*() {
      const breaker = yield* make("reentrant", { trip: Trip.consecutiveFailures(1000), timeout: "1 second" })
      const chain = (n: number): Effect.Effect<number> =>
        breaker.wrap(Effect.never).pipe(Effect.catchCause(() => n === 0 ? Effect.succeed(0) : chain(n - 1)))
      const fibers = [yield* fork(chain(5)), yield* fork(chain(5)), yield* fork(chain(2))]
      yield* TestClock.adjust("10 seconds")
      for (const fiber of fibers) assert.deepStrictEqual(fiber.pollUnsafe(), Exit.succeed(0))
      assert.strictEqual((yield* breaker.snapshot).statistics.timeout, 15)
    }))

  it.effect("the policy's classify is called for calls that end in time, and not for timeouts", () =>
    Effect.gen(function*() {
      const classified: Array<string> = []
      const breaker = yield* make("classified", {
        ...policy,
        classify: (exit) => {
          classified.push(exit._tag)
          return { _tag: "Ignored" }
        }
      })
      yield* breaker.wrap(Effect.void)
      const fiber = yield* fork(breaker.wrap(Effect.never))
      yield* TestClock.adjust("2 seconds")
      assert.instanceOf(yield* Effect.flip(Fiber.join(fiber)), Breaker.BreakerTimeoutError)
      assert.deepStrictEqual(classified, ["Success"])
      assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 1, timeout: 1, failure: 1 })
    }))
})

describe("calls within calls", () => {
  /** More than twice as many as `Effect.timeout` bears. */
  const LEVELS = 5000
  const patient = { trip: Trip.consecutiveFailures(1_000_000), timeout: "2 seconds" } as const

  const nested = (
    wrap: Breaker.Wrap<unknown, never>,
    innermost: Effect.Effect<string, unknown>,
    levels = LEVELS
  ): Effect.Effect<string, unknown> =>
    levels === 0 ? innermost : wrap(Effect.suspend(() => nested(wrap, innermost, levels - 1)))

  for (
    const [what, innermost] of Object.entries({
      "do not suspend": Effect.succeed("ok"),
      "suspend": Effect.as(Effect.yieldNow, "ok"),
      "wait for a promise": Effect.promise(() => Promise.resolve("ok")),
      "fail": Effect.fail("no"),
      "fail after they have suspended": Effect.andThen(Effect.yieldNow, Effect.fail("no"))
    })
  ) {
    it.effect(`thousands of calls that are nested in each other end as the innermost does: they ${what} (F8)`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("deep", patient)
        const exit = yield* Effect.exit(innermost)
        assert.deepStrictEqual(yield* Effect.exit(nested(breaker.wrap, innermost)), exit)
        const { failure, success } = (yield* breaker.snapshot).statistics
        assert.deepStrictEqual([success, failure], Exit.isSuccess(exit) ? [LEVELS, 0] : [0, LEVELS])
      }))
  }

  it.effect("thousands of nested calls end in Effect.runSync, also within a call that waited (F8)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("sync", patient)
      const sync = Effect.sync(() =>
        Effect.runSync(nested(breaker.wrap, Effect.succeed("ok")) as Effect.Effect<string>)
      )
      assert.strictEqual(yield* sync, "ok")
      const inside = nested(breaker.wrap, Effect.andThen(Effect.yieldNow, sync), 150)
      assert.strictEqual(yield* inside, "ok")
      assert.strictEqual(yield* Effect.andThen(inside, sync), "ok")
      assert.deepInclude((yield* breaker.snapshot).statistics, { success: 3 * LEVELS + 2 * 150 + LEVELS, failure: 0 })
    }))

  it.effect("thousands of nested calls are interrupted, and are ignored (F8)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("interrupted", patient)
      let finalized = false
      const innermost = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          finalized = true
        }))
      const fiber = yield* fork(nested(breaker.wrap, innermost))
      yield* untilQuiet
      yield* Fiber.interrupt(fiber)
      assert.isTrue(finalized)
      assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: LEVELS, failure: 0, timeout: 0 })
    }))

  it.effect("thousands of nested calls time out (F8)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("timing-out", patient)
      const fiber = yield* fork(nested(breaker.wrap, Effect.never))
      yield* untilQuiet
      yield* TestClock.adjust("2 seconds")
      assert.instanceOf(yield* Effect.flip(Fiber.join(fiber)), Breaker.BreakerTimeoutError)
      // A call whose inner one has timed out fails with that, and one whose outer one has timed out is interrupted.
      const { failure, ignored, success, timeout } = (yield* breaker.snapshot).statistics
      assert.strictEqual(failure + ignored, LEVELS)
      assert.strictEqual(success, 0)
      assert.isAbove(timeout, 0)
    }))
})

describe("a call with a timeout", () => {
  class Name extends Context.Service<Name, string>()("test/Name") {}
  const Level = Context.Reference<number>("test/Level", { defaultValue: () => 0 })

  it.effect("a call with a timeout has the services, references and spans of its caller", () =>
    Effect.gen(function*() {
      const breaker = yield* make("context", policy)
      const look = Effect.gen(function*() {
        yield* Effect.yieldNow
        return [yield* Name, yield* Level, (yield* Effect.currentSpan).name] as const
      })
      const seen = yield* breaker.wrap(look).pipe(
        Effect.provideService(Name, "caller"),
        Effect.provideService(Level, 3),
        Effect.withSpan("parent")
      )
      assert.deepStrictEqual(seen, ["caller", 3, "parent"])
    }))

  it.effect("a call with a timeout adds its resources to the scope of its caller", () =>
    Effect.gen(function*() {
      const breaker = yield* make("scope", policy)
      let open = false
      const acquire = Effect.acquireRelease(
        Effect.andThen(
          Effect.yieldNow,
          Effect.sync(() => {
            open = true
          })
        ),
        () =>
          Effect.sync(() => {
            open = false
          })
      )
      yield* Effect.scoped(Effect.gen(function*() {
        yield* breaker.wrap(acquire)
        assert.isTrue(open)
      }))
      assert.isFalse(open)
    }))

  it.effect("a call with a timeout that is interrupted from outside is awaited and counts as ignored", () =>
    Effect.gen(function*() {
      const breaker = yield* make("outside", { ...policy, maxConcurrent: 1 })
      const log: Array<string> = []
      const call = Effect.onInterrupt(
        Effect.never,
        () => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => log.push("finalized")))
      )
      const fiber = yield* fork(breaker.wrap(call))
      const interruption = yield* fork(
        Effect.andThen(
          Fiber.interrupt(fiber),
          Effect.sync(() => log.push("interrupted"))
        )
      )
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(log, [])
      yield* TestClock.adjust(1)
      yield* Fiber.join(interruption)
      assert.deepStrictEqual(log, ["finalized", "interrupted"])
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 1, timeout: 0, failure: 0 })
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("1 hour")
      assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 1, timeout: 0, failure: 0, success: 1 })
    }))

  it.effect("a call interrupted while its finalizers run after the timeout counts once", () =>
    Effect.gen(function*() {
      const breaker = yield* make("both", policy)
      const fiber = yield* fork(breaker.wrap(Effect.onInterrupt(Effect.never, () => Effect.sleep("5 seconds"))))
      yield* TestClock.adjust("2 seconds")
      const interruption = yield* fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust(4999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(interruption)
      assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 0, timeout: 1, failure: 1 })
    }))

  for (const timeout of [undefined, "2 seconds"] as const) {
    it.effect(`a call whose finalizer dies when interrupted counts as failed, and its caller gets the defect (timeout ${timeout})`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("dying", { timeout })
        const call = Effect.onInterrupt(Effect.never, () => Effect.andThen(Effect.yieldNow, Effect.die("leak")))
        const fiber = yield* fork(breaker.wrap(call))
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === "leak")
        assert.deepInclude((yield* breaker.snapshot).statistics, { failure: 1, ignored: 0 })
      }))
  }
})
