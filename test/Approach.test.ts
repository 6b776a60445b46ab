import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Trip } from "../src/index.ts"
import { Link, memory } from "./support/storages.ts"
import { failTimes, listen, make, untilQuiet } from "./utils.ts"

const streak = { trip: Trip.consecutiveFailures(10), openFor: "10 seconds" } as const

/** How often each share was told. */
const sharesOf = (events: ReadonlyArray<Breaker.Event>) =>
  events.flatMap((event) => event._tag === "Approaching" ? [event.share] : [])

const succeed = (breaker: Breaker.Breaker<unknown>, times = 1) =>
  Effect.repeat(breaker.wrap(Effect.void), { times: times - 1 })

const approachOf = (breaker: Breaker.Breaker<unknown>) => Effect.map(breaker.snapshot, ({ approach }) => approach)

describe("approach in a snapshot", () => {
  it.effect("approach is a share of the threshold while the circuit is closed, and 0 otherwise", () =>
    Effect.gen(function*() {
      const breaker = yield* make("share", { ...streak, trip: Trip.consecutiveFailures(4) })
      assert.strictEqual(yield* approachOf(breaker), 0)
      yield* failTimes(breaker, 3)
      assert.strictEqual(yield* approachOf(breaker), 0.75)
      yield* failTimes(breaker, 1)
      assert.deepInclude(yield* breaker.snapshot, { state: "Open", approach: 0 })
      yield* TestClock.adjust("10 seconds")
      yield* breaker.wrap(Effect.void)
      assert.deepInclude(yield* breaker.snapshot, { state: "Closed", approach: 0 })
    }))

  it.effect("approach falls with the calls that leave a window, without a call", () =>
    Effect.gen(function*() {
      const breaker = yield* make("window", { trip: Trip.failures({ count: 4, within: "1 minute" }) })
      yield* failTimes(breaker, 3)
      assert.strictEqual(yield* approachOf(breaker), 0.75)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* approachOf(breaker), 0)
    }))

  it.effect("approach is the pooled evidence's where that is closer", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const pooled = { trip: Trip.failures({ count: 10, within: "1 minute" }), evidence: "pooled" } as const
      const [a, b] = [yield* new Link(of).make("pooled", pooled), yield* new Link(of).make("pooled", pooled)]
      yield* failTimes(a, 5)
      yield* failTimes(b, 2)
      yield* succeed(b)
      yield* TestClock.adjust("2 seconds")
      yield* untilQuiet
      const { approach, fleet, whyNot } = yield* b.snapshot
      assert.strictEqual(approach, 0.7)
      assert.deepStrictEqual([whyNot, fleet?.whyNot], ["2 of 10 failures within 60 s", "7 of 10 failures within 60 s"])
    }))
})

describe("the event Approaching", () => {
  it.effect("is published once at 80 % of the threshold, and says of what", () =>
    Effect.gen(function*() {
      const breaker = yield* make("once", streak)
      const received = yield* listen(breaker)
      yield* failTimes(breaker, 10)
      const events = yield* received
      assert.deepStrictEqual(sharesOf(events), [0.8])
      const event = events.find((event) => event._tag === "Approaching")!
      assert.deepInclude(event, { circuit: "once", whyNot: "8 of 10 consecutive failures" })
      assert.deepInclude(event.snapshot, { state: "Closed", approach: 0.8 })
      assert.deepStrictEqual(events.map(({ _tag }) => _tag).slice(7, 9), ["Failure", "Approaching"])
    }))

  it.effect("is published again once the circuit fell 10 points below, and not before", () =>
    Effect.gen(function*() {
      const trip = Trip.failures({ count: 20, within: "1 minute" })
      const breaker = yield* make("again", { trip, openFor: "10 seconds" })
      const received = yield* listen(breaker)
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("20 seconds")
      yield* failTimes(breaker, 15)
      // The first has left the window: from 15 to 16 of 20 is no new approach.
      yield* TestClock.adjust("45 seconds")
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* approachOf(breaker), 0.8)
      yield* TestClock.adjust("20 seconds")
      // Only the last one is left, so what follows is a new approach.
      yield* failTimes(breaker, 15)
      assert.deepStrictEqual(sharesOf(yield* received), [0.8, 0.8])
    }))

  it.effect("is published again after a streak that ended, however near the first failure of the next one is", () =>
    Effect.gen(function*() {
      const breaker = yield* make("short", { ...streak, trip: Trip.consecutiveFailures(2), approachAt: 0.5 })
      const received = yield* listen(breaker)
      for (let i = 0; i < 3; i++) {
        yield* failTimes(breaker, 1)
        yield* succeed(breaker)
      }
      assert.deepStrictEqual(sharesOf(yield* received), [0.5, 0.5, 0.5])
    }))

  it.effect("is published again after a change of state", () =>
    Effect.gen(function*() {
      const breaker = yield* make("state", streak)
      const received = yield* listen(breaker)
      for (let round = 0; round < 2; round++) {
        yield* failTimes(breaker, 10)
        yield* TestClock.adjust("1 minute")
        yield* succeed(breaker)
      }
      assert.deepStrictEqual(sharesOf(yield* received), [0.8, 0.8])
    }))

  it.effect("is published for slow calls, too", () =>
    Effect.gen(function*() {
      const trip = Trip.slowCallRate({ threshold: 1, slowerThan: "1 second", lastCalls: 10, minimumCalls: 10 })
      const breaker = yield* make("slow", { trip })
      const received = yield* listen(breaker)
      for (let i = 0; i < 9; i++) {
        const fiber = yield* Effect.forkChild(breaker.wrap(Effect.sleep("2 seconds")), { startImmediately: true })
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(fiber)
      }
      assert.deepStrictEqual(sharesOf(yield* received), [0.8])
    }))

  it.effect("is published by each instance for the pooled evidence of all", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const pooled = { trip: Trip.failures({ count: 10, within: "1 minute" }), evidence: "pooled" } as const
      const [a, b] = [yield* new Link(of).make("fleet", pooled), yield* new Link(of).make("fleet", pooled)]
      const received = [yield* listen(a), yield* listen(b)]
      yield* failTimes(a, 5)
      yield* failTimes(b, 3)
      yield* Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), Effect.andThen(succeed(a), succeed(b))), {
        times: 5
      })
      yield* untilQuiet
      for (const of of received) {
        const approaching = (yield* of).filter((event) => event._tag === "Approaching")
        assert.deepStrictEqual(approaching.map(({ share, whyNot }) => [share, whyNot]), [
          [0.8, "8 of 10 failures within 60 s"]
        ])
      }
    }))

  it.effect("is not published with approachAt false, and at another share with another approachAt", () =>
    Effect.gen(function*() {
      const never = yield* make("never", { ...streak, approachAt: false })
      const early = yield* make("early", { ...streak, approachAt: 0.25 })
      const received = [yield* listen(never), yield* listen(early)]
      yield* failTimes(never, 10)
      yield* failTimes(early, 10)
      assert.deepStrictEqual(yield* Effect.forEach(received, (of) => Effect.map(of, sharesOf)), [[], [0.3]])
    }))

  it.effect("nothing is published of a circuit that goes from calm to open with one call", () =>
    Effect.gen(function*() {
      const breaker = yield* make("jump", { ...streak, trip: Trip.consecutiveFailures(1) })
      const received = yield* listen(breaker)
      yield* failTimes(breaker, 1)
      assert.deepStrictEqual((yield* received).map(({ _tag }) => _tag), ["Failure", "Transition"])
    }))
})

describe("the policy field approachAt", () => {
  it("a share outside of (0, 1] is refused by name, value and range", () => {
    for (const approachAt of [0, -0.1, 1.1, NaN, Infinity, "0.8", true]) {
      assert.throws(
        () => Breaker.make("refused", { approachAt: approachAt as never }),
        /approachAt must be a share above 0 and up to 1, or false, got/
      )
    }
  })

  it("a share is part of no fingerprint, because it decides nothing", () => {
    assert.strictEqual(Breaker.fingerprint({ approachAt: 0.5 }), Breaker.fingerprint({ approachAt: false }))
  })
})
