import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Queue, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Trip } from "../src/index.ts"
import { failTimes, make, makeKeyed } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

/** Elements with a wait before each. */
const paced = (...millis: ReadonlyArray<number>) =>
  Stream.fromIterable(millis).pipe(Stream.rechunk(1), Stream.tap((wait) => Effect.sleep(wait)))

describe("a stream through a breaker", () => {
  it.effect("is a success at its end, and one call", () =>
    Effect.gen(function*() {
      const breaker = yield* make("ends", one)
      const stream = Stream.range(1, 1000).pipe(Stream.rechunk(10), breaker.wrapStream)
      assert.strictEqual((yield* Stream.runCollect(stream)).length, 1000)
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 1)
      yield* Stream.runDrain(breaker.wrapStream(Stream.empty))
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 2)
    }))

  it.effect("counts a failure in the middle, and is refused by an open circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* make("breaks", one)
      const stream = Stream.concat(Stream.make(1, 2), Stream.fail("broken")).pipe(breaker.wrapStream)
      const seen: Array<number> = []
      const error = yield* Effect.flip(Stream.runForEach(stream, (n) => Effect.sync(() => seen.push(n))))
      assert.strictEqual(error, "broken")
      assert.deepStrictEqual(seen, [1, 2])
      assert.instanceOf(yield* Effect.flip(Stream.runDrain(stream)), Breaker.BreakerOpenError)
    }))

  it.effect("starts nothing of a stream that is refused", () =>
    Effect.gen(function*() {
      const breaker = yield* make("refused", one)
      yield* failTimes(breaker, 1)
      let started = false
      const stream = Stream.unwrap(Effect.sync(() => {
        started = true
        return Stream.make(1)
      }))
      yield* Effect.exit(Stream.runDrain(breaker.wrapStream(stream)))
      assert.isFalse(started)
    }))

  it.effect("ignores a consumer that stops reading, and one that is interrupted", () =>
    Effect.gen(function*() {
      const breaker = yield* make("stops", { ...one, maxConcurrent: 1 })
      yield* Stream.range(1, 100).pipe(Stream.rechunk(1), breaker.wrapStream, Stream.take(3), Stream.runDrain)
      const fiber = yield* fork(Stream.runDrain(breaker.wrapStream(Stream.never)))
      yield* Fiber.interrupt(fiber)
      const { statistics } = yield* breaker.snapshot
      assert.strictEqual(statistics.ignored, 2)
      assert.strictEqual(statistics.failure, 0)
      yield* Stream.runDrain(breaker.wrapStream(Stream.make(1)))
    }))

  it.effect("waits for the first element no longer than the policy's timeout, and then as long as it takes", () =>
    Effect.gen(function*() {
      const breaker = yield* make("first", { trip: Trip.consecutiveFailures(2), timeout: "1 second" })
      const fine = yield* fork(Stream.runDrain(breaker.wrapStream(paced(900, 60_000))))
      yield* TestClock.adjust("61 seconds")
      yield* Fiber.join(fine)
      const late = yield* fork(Effect.flip(Stream.runDrain(breaker.wrapStream(paced(1100)))))
      yield* TestClock.adjust("2 seconds")
      assert.instanceOf(yield* Fiber.join(late), Breaker.BreakerTimeoutError)
      assert.strictEqual((yield* breaker.snapshot).statistics.timeout, 1)
    }))

  it.effect("ends at an idle timeout, which a slow consumer does not use up", () =>
    Effect.gen(function*() {
      const breaker = yield* make("idle", one)
      const guarded = breaker.wrapStreamWith({ idleTimeout: "1 second" })
      const slow = yield* fork(guarded(paced(0, 900, 900)).pipe(Stream.runForEach(() => Effect.sleep("10 seconds"))))
      yield* TestClock.adjust("40 seconds")
      yield* Fiber.join(slow)
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 1)
      const trickles = yield* fork(Effect.flip(Stream.runDrain(guarded(paced(0, 1100)))))
      yield* TestClock.adjust("2 seconds")
      assert.instanceOf(yield* Fiber.join(trickles), Breaker.BreakerTimeoutError)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("refuses an idle timeout that makes no sense at once, as layerTest does", () => {
    class Tested extends Breaker.Service<Tested>()("refuses", one) {}
    return Effect.gen(function*() {
      for (const breaker of [yield* make("refuses", one), yield* Tested]) {
        for (const wrong of ["soon", NaN, 0, -1, Infinity]) {
          assert.throws(
            () => breaker.wrapStreamWith(Stream.empty, { idleTimeout: wrong as "1 second" }),
            RangeError,
            /^wrapStreamWith: idleTimeout /
          )
        }
      }
    }).pipe(Effect.provide(Tested.layerTest()))
  })

  it.effect("can settle with its first element", () =>
    Effect.gen(function*() {
      const breaker = yield* make("settles-first", one)
      const queue = yield* Queue.unbounded<number>()
      const stream = Stream.fromQueue(queue).pipe(breaker.wrapStreamWith({ settles: "first" }))
      const fiber = yield* fork(Stream.runDrain(stream))
      yield* Queue.offer(queue, 1)
      yield* TestClock.adjust(0)
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* breaker.snapshot).statistics.ignored, 0)
    }))

  it.effect("classifies its exit", () =>
    Effect.gen(function*() {
      const breaker = yield* make("classifies", one)
      const classify = (exit: Exit.Exit<void, string>) => Exit.isFailure(exit) ? Outcome.ignored : Outcome.success
      yield* Effect.exit(Stream.runDrain(Stream.fail("no").pipe(breaker.wrapStreamWith({ classify }))))
      assert.strictEqual((yield* breaker.snapshot).statistics.ignored, 1)
    }))

  it.effect("a probe that still delivers when its place is free has succeeded, and flows on", () =>
    Effect.gen(function*() {
      const breaker = yield* make("endless", one)
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("10 seconds")
      let seen = 0
      const feed = Stream.fromSchedule(Schedule.spaced("4 seconds")).pipe(breaker.wrapStream)
      const fiber = yield* fork(Stream.runForEach(feed, () => Effect.sync(() => seen++)))
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(yield* breaker.state, "Closed")
      yield* TestClock.adjust("20 seconds")
      assert.isAbove(seen, 13)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("that is retried is admitted anew", () =>
    Effect.gen(function*() {
      const breaker = yield* make("retried", { trip: Trip.consecutiveFailures(3) })
      let starts = 0
      const broken = Stream.unwrap(Effect.sync(() => {
        starts++
        return Stream.fail("broken")
      }))
      yield* Effect.exit(Stream.runDrain(broken.pipe(breaker.wrapStream, Stream.retry(Schedule.recurs(9)))))
      assert.strictEqual(starts, 3)
    }))

  it.effect("of a keyed breaker is of its key's circuit; past a breaker it is as it was", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("keyed-streams", one)
      const broken = Stream.fail("broken").pipe(keyed.wrapStream({ key: "a" }))
      yield* Effect.exit(Stream.runDrain(broken))
      assert.instanceOf(yield* Effect.flip(Stream.runDrain(broken)), Breaker.BreakerOpenError)
      assert.strictEqual(yield* Effect.flip(Breaker.bypass(Stream.runDrain(broken))), "broken")
      yield* Stream.runDrain(Stream.make(1).pipe(keyed.wrapStream({ key: "b" })))
    }))
})
