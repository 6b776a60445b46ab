import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Trip } from "../src/index.ts"
import { make, makeKeyed } from "./utils.ts"

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

/** Whether exactly `n` calls can run at once. */
const room = <Err>(breaker: Breaker.Breaker<Err>, places: number) =>
  Effect.gen(function*() {
    const gate = yield* Deferred.make<void>()
    const call = Effect.exit(breaker.wrapWith(Deferred.await(gate), { classify: () => Outcome.success }))
    const fibers = yield* Effect.forEach(Array.from({ length: places + 1 }), () => fork(call))
    const waiting = fibers.filter((fiber) => fiber.pollUnsafe() === undefined).length
    yield* Deferred.succeed(gate, undefined)
    yield* Effect.forEach(fibers, Fiber.join)
    return waiting === places
  })

/** Opens the gate in the end, so that a call that cannot be interrupted ends with the test. */
const withGate = <A, E, R>(f: (gate: Deferred.Deferred<void>) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Deferred.make<void>(), (gate) => Effect.ensuring(f(gate), Deferred.succeed(gate, undefined)))

describe("a bulkhead", () => {
  it.effect("a bulkhead runs maxConcurrent calls at once, and fails further calls without running them", () =>
    Effect.gen(function*() {
      const breaker = yield* make("full", { maxConcurrent: 2, trip: Trip.consecutiveFailures(1) })
      const fibers = [yield* fork(breaker.wrap(Effect.never)), yield* fork(breaker.wrap(Effect.never))]
      for (let i = 0; i < 10; i++) {
        const error = yield* Effect.flip(breaker.wrap(Effect.die("ran")))
        assert.instanceOf(error, Breaker.BulkheadFullError)
        assert.deepInclude(error, { circuit: "full", maxConcurrent: 2 })
      }
      assert.strictEqual(yield* breaker.state, "Closed")
      assert.deepInclude((yield* breaker.snapshot).statistics, { rejected: 10, failure: 0, ignored: 0, success: 0 })
      yield* Effect.forEach(fibers, Fiber.interrupt)
      assert.isTrue(yield* room(breaker, 2))
    }))

  const policy = { maxConcurrent: 2, timeout: "2 seconds", trip: Trip.consecutiveFailures(1000) } as const
  const endings: Record<string, Effect.Effect<unknown, unknown>> = {
    "succeeds": Effect.void,
    "succeeds later": Effect.sleep("1 second"),
    "fails": Effect.fail("no"),
    "dies": Effect.die("no"),
    "throws": Effect.sync(() => JSON.parse("{")),
    "interrupts itself": Effect.interrupt,
    "times out": Effect.never,
    "times out with slow finalizers": Effect.onInterrupt(Effect.never, () => Effect.sleep("1 second"))
  }
  for (const [how, ending] of Object.entries(endings)) {
    it.effect(`a bulkhead frees the place of a call that ${how}`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("ends", policy)
        for (let i = 0; i < 3; i++) {
          const fiber = yield* fork(Effect.exit(breaker.wrap(ending)))
          yield* TestClock.adjust("3 seconds")
          yield* Fiber.join(fiber)
        }
        assert.isTrue(yield* room(breaker, 2))
      }))
  }

  it.effect("a bulkhead frees the place of a call when it times out, and its caller waits for its finalizers (F17)", () =>
    withGate((gate) =>
      Effect.gen(function*() {
        const breaker = yield* make("finalizing", { ...policy, maxConcurrent: 1 })
        const finalized = Effect.onInterrupt(Effect.never, () => Deferred.await(gate))
        const call = yield* fork(Effect.exit(breaker.wrap(finalized)))
        yield* TestClock.adjust(1999)
        assert.instanceOf(yield* Effect.flip(breaker.wrap(Effect.void)), Breaker.BulkheadFullError)
        yield* TestClock.adjust(1)
        assert.isUndefined(call.pollUnsafe())
        assert.strictEqual((yield* breaker.snapshot).concurrent, 1)
        assert.isTrue(yield* room(breaker, 1))
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(call)
        assert.strictEqual((yield* breaker.snapshot).concurrent, 0)
        assert.isTrue(yield* room(breaker, 1))
      })
    ))

  it.effect("calls that ignore their timeout keep no probe out, and the snapshot shows them (F17)", () =>
    withGate((gate) =>
      Effect.gen(function*() {
        const breaker = yield* make("hung", {
          maxConcurrent: 2,
          timeout: "1 second",
          trip: Trip.consecutiveFailures(2)
        })
        const hung = Effect.exit(breaker.wrap(Effect.uninterruptible(Deferred.await(gate))))
        const fibers = [yield* fork(hung), yield* fork(hung)]
        assert.instanceOf(yield* Effect.flip(breaker.wrap(Effect.void)), Breaker.BulkheadFullError)
        yield* TestClock.adjust("1 second")
        assert.deepInclude(yield* breaker.snapshot, { state: "Open", concurrent: 2 })
        yield* TestClock.adjust("1 hour")
        // A probe that hangs, too, reopens the circuit; the next one closes it.
        fibers.push(yield* fork(hung))
        yield* TestClock.adjust("1 hour")
        yield* breaker.wrap(Effect.void)
        assert.deepInclude(yield* breaker.snapshot, { state: "Closed", concurrent: 3 })
        assert.isTrue(yield* room(breaker, 2))
        yield* Deferred.succeed(gate, undefined)
        yield* Effect.forEach(fibers, Fiber.join)
        assert.strictEqual((yield* breaker.snapshot).concurrent, 0)
        assert.isTrue(yield* room(breaker, 2))
      })
    ))

  it.effect("calls that ignore their timeout keep no call out where the circuit never trips (F17)", () =>
    withGate((gate) =>
      Effect.gen(function*() {
        const breaker = yield* make("closed", policy)
        const hung = Effect.exit(breaker.wrap(Effect.uninterruptible(Deferred.await(gate))))
        for (let i = 0; i < 2; i++) yield* fork(hung)
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* breaker.state, "Closed")
        assert.isTrue(yield* room(breaker, 2))
      })
    ))

  for (
    const [which, of] of Object.entries(
      { "no policy": {}, "a bulkhead": { maxConcurrent: 9 }, "a timeout": { timeout: "1 hour" } } as const
    )
  ) {
    it.effect(`the snapshot shows the calls under way, with ${which} (F17)`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("under way", of)
        const concurrent = Effect.map(breaker.snapshot, ({ concurrent }) => concurrent)
        assert.strictEqual(yield* concurrent, 0)
        const fibers = [yield* fork(breaker.wrap(Effect.never)), yield* fork(breaker.wrap(Effect.never))]
        assert.strictEqual(yield* concurrent, 2)
        assert.strictEqual(yield* breaker.wrap(concurrent), 3)
        yield* Effect.forEach(fibers, Fiber.interrupt)
        assert.strictEqual(yield* concurrent, 0)
      }))
  }

  it.effect("a bulkhead frees the place of a call whose classify throws or dies", () =>
    Effect.gen(function*() {
      const breaker = yield* make("classify", { maxConcurrent: 1 })
      for (let i = 0; i < 3; i++) {
        yield* breaker.wrapWith(Effect.void, { classify: () => Effect.die("no") })
        yield* breaker.wrapWith(Effect.void, {
          classify: () => {
            throw new Error("no")
          }
        })
      }
      assert.isTrue(yield* room(breaker, 1))
    }))

  it.effect("a call that an open circuit rejects takes no place in the bulkhead", () =>
    Effect.gen(function*() {
      const breaker = yield* make("open", { maxConcurrent: 1, trip: Trip.consecutiveFailures(1), openFor: "1 second" })
      yield* Effect.exit(breaker.wrap(Effect.fail("no")))
      for (let i = 0; i < 3; i++) {
        assert.instanceOf(yield* Effect.flip(breaker.wrap(Effect.void)), Breaker.BreakerOpenError)
      }
      yield* TestClock.adjust("1 second")
      yield* breaker.wrap(Effect.void)
      assert.isTrue(yield* room(breaker, 1))
    }))

  it.effect("a call that a full bulkhead rejects takes no probe's place", () =>
    Effect.gen(function*() {
      const breaker = yield* make("probe", { maxConcurrent: 1, trip: Trip.consecutiveFailures(1) })
      const gate = yield* Deferred.make<void>()
      const early = yield* fork(breaker.wrap(Deferred.await(gate)))
      yield* breaker.forceHalfOpen
      for (let i = 0; i < 3; i++) {
        assert.instanceOf(yield* Effect.flip(breaker.wrap(Effect.void)), Breaker.BulkheadFullError)
      }
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(early)
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("a bulkhead still counts the calls that ran before an override or a reset", () =>
    Effect.gen(function*() {
      const breaker = yield* make("across", { maxConcurrent: 2 })
      const fibers = [yield* fork(breaker.wrap(Effect.never)), yield* fork(breaker.wrap(Effect.never))]
      yield* breaker.reset
      assert.instanceOf(yield* Effect.flip(breaker.wrap(Effect.void)), Breaker.BulkheadFullError)
      yield* Effect.forEach(fibers, Fiber.interrupt)
      assert.isTrue(yield* room(breaker, 2))
    }))

  it.effect("each key of a keyed breaker has a bulkhead of its own", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("bulkheads", { maxConcurrent: 1 })
      yield* fork(keyed.wrap(Effect.never, { key: "a" }))
      assert.instanceOf(yield* Effect.flip(keyed.wrap(Effect.void, { key: "a" })), Breaker.BulkheadFullError)
      assert.deepStrictEqual(yield* Effect.exit(keyed.wrap(Effect.void, { key: "b" })), Exit.void)
    }))

  it.effect("BulkheadFullError does not count as a failure of an outer breaker", () =>
    Effect.gen(function*() {
      const inner = yield* make("inner", { maxConcurrent: 1 })
      const outer = yield* make("outer", { trip: Trip.consecutiveFailures(1) })
      yield* fork(inner.wrap(Effect.never))
      yield* Effect.exit(outer.wrap(inner.wrap(Effect.void)))
      assert.strictEqual(yield* outer.state, "Closed")
    }))
})
