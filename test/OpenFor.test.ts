import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { type Breaker, Outcome, Trip } from "../src/index.ts"
import { failTimes, make, rejectionOf, withReports } from "./utils.ts"

const one = Trip.consecutiveFailures(1)

/** The length of each of `n` consecutive openings, to the millisecond. */
const openTimes = <Err>(breaker: Breaker.Breaker<Err>, openings: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.gen(function*() {
    const times: Array<number> = []
    for (let n = 0; n < openings; n++) {
      yield* failTimes(breaker, 1)
      const { retryAfter } = yield* rejectionOf(breaker)
      times.push(Duration.toMillis(retryAfter!))
      yield* TestClock.adjust(retryAfter!)
    }
    return times
  })

const close = <Err>(breaker: Breaker.Breaker<Err>) => Effect.orDie(breaker.wrap(Effect.void))

describe("a schedule of open times", () => {
  it.effect("a schedule of open times gives the n-th consecutive opening its n-th delay, up to maxOpenFor", () =>
    Effect.gen(function*() {
      const breaker = yield* make("exponential", {
        trip: one,
        openFor: Schedule.exponential("1 second"),
        maxOpenFor: "5 seconds"
      })
      assert.deepStrictEqual(yield* openTimes(breaker, 5), [1000, 2000, 4000, 5000, 5000])
    }))

  it.effect("a schedule of open times repeats its last delay once it is exhausted", () =>
    Effect.gen(function*() {
      const openFor = Schedule.exponential("1 second").pipe(Schedule.upTo({ times: 3 }))
      const breaker = yield* make("exhausted", { trip: one, openFor })
      assert.deepStrictEqual(yield* openTimes(breaker, 5), [1000, 2000, 4000, 4000, 4000])
    }))

  it.effect("a schedule of open times continues after a delay above maxOpenFor", () =>
    Effect.gen(function*() {
      const openFor = Schedule.concat(Schedule.duration("1 hour"), Schedule.spaced("2 seconds"))
      const breaker = yield* make("up-and-down", { trip: one, openFor, maxOpenFor: "10 seconds" })
      assert.deepStrictEqual(yield* openTimes(breaker, 3), [10_000, 2000, 2000])
    }))

  it.effect("a schedule of open times survives thousands of openings", () =>
    Effect.gen(function*() {
      const breaker = yield* make("many", { trip: one, openFor: Schedule.exponential("1 second") })
      const times = yield* openTimes(breaker, 1200)
      assert.strictEqual(times.at(-1), 3_600_000)
    }))

  it.effect("a schedule of open times draws its jitter once per opening", () =>
    Effect.gen(function*() {
      const openFor = Schedule.jittered(Schedule.spaced("10 seconds"))
      const breaker = yield* make("jitter", { trip: one, openFor })
      yield* failTimes(breaker, 1)
      const drawn = (yield* rejectionOf(breaker)).retryAfter
      for (let i = 0; i < 5; i++) assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, drawn)
      assert.deepStrictEqual((yield* breaker.snapshot).retryAfter, drawn)
      yield* TestClock.adjust(drawn!)
      const [next] = yield* openTimes(breaker, 1)
      assert.notStrictEqual(next, Duration.toMillis(drawn!))
      for (const time of [Duration.toMillis(drawn!), next!]) assert.isTrue(time >= 8000 && time <= 12_000)
    }).pipe(Random.withSeed("jitter")))

  it.effect("a schedule of open times starts again once the circuit stayed closed as long as its last open time", () =>
    Effect.gen(function*() {
      const breaker = yield* make("calm", { trip: one, openFor: Schedule.exponential("1 second") })
      assert.deepStrictEqual(yield* openTimes(breaker, 2), [1000, 2000])
      yield* close(breaker)
      yield* TestClock.adjust(1999)
      assert.strictEqual((yield* breaker.snapshot).openings, 2)
      assert.deepStrictEqual(yield* openTimes(breaker, 1), [4000])
      yield* close(breaker)
      yield* TestClock.adjust(4000)
      assert.strictEqual((yield* breaker.snapshot).openings, 0)
      assert.deepStrictEqual(yield* openTimes(breaker, 1), [1000])
    }))

  it.effect("a reset makes a schedule of open times start again", () =>
    Effect.gen(function*() {
      const breaker = yield* make("forgets", { trip: one, openFor: Schedule.exponential("1 second") })
      yield* openTimes(breaker, 3)
      yield* breaker.reset
      assert.deepStrictEqual(yield* openTimes(breaker, 1), [1000])
    }))

  const bad: ReadonlyArray<readonly [string, Schedule.Schedule<unknown, number>]> = [
    ["dies", Schedule.addDelay(Schedule.recurs(9), () => Effect.die("a bad schedule"))],
    [
      "throws",
      Schedule.addDelay(Schedule.recurs(9), () => {
        throw new Error("a bad schedule")
      })
    ],
    ["waits", Schedule.addDelay(Schedule.recurs(9), () => Effect.as(Effect.sleep("1 second"), Duration.seconds(1)))]
  ]
  for (const [how, openFor] of bad) {
    it.effect(`a schedule of open times that ${how} opens for 60 seconds and is logged; the call keeps its error`, () =>
      withReports((reports) =>
        Effect.gen(function*() {
          const breaker = yield* make(`bad ${how}`, { trip: one, openFor })
          assert.strictEqual(yield* Effect.flip(breaker.wrap(Effect.fail("its own"))), "its own")
          assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(60))
          assert.strictEqual(reports.length, 1)
          assert.strictEqual(reports[0]?.level, "Warn")
          assert.include(reports[0]?.message, `bad ${how}`)
        })
      ))
  }
})

describe("a retryAfter hint", () => {
  const opensFor = (retryAfter: unknown) =>
    Effect.gen(function*() {
      const breaker = yield* make("hint", {
        trip: Trip.consecutiveFailures(2),
        openFor: "10 seconds",
        maxOpenFor: "1 minute"
      })
      const classify = () => Outcome.failure({ retryAfter: retryAfter as Duration.Input })
      for (let i = 0; i < 2; i++) yield* Effect.exit(breaker.wrapWith(Effect.fail("busy"), { classify }))
      return Duration.toMillis((yield* rejectionOf(breaker)).retryAfter!)
    })

  const cases: ReadonlyArray<readonly [string, unknown, number]> = [
    ["that is longer than the open time lengthens it", "30 seconds", 30_000],
    ["that is shorter does not shorten it", "1 second", 10_000],
    ["is capped by maxOpenFor", "1 hour", 60_000],
    ["that never ends is capped, too", Duration.infinity, 60_000],
    ["that is negative is none", Duration.seconds(-30), 10_000],
    ["that is NaN is none", NaN, 10_000],
    ["that is a word is none", "soon", 10_000],
    ["that is an object is none", { later: true }, 10_000],
    ["that is null is none", null, 10_000],
    ["that is a symbol is none", Symbol("later"), 10_000]
  ]
  for (const [what, hint, expected] of cases) {
    it.effect(`a retryAfter hint ${what}`, () =>
      Effect.map(opensFor(hint), (millis) => assert.strictEqual(millis, expected)))
  }

  it.effect("a retryAfter hint of a failed probe lengthens the next opening, one of an earlier opening does not", () =>
    Effect.gen(function*() {
      const breaker = yield* make("probe-hint", { trip: one, openFor: "10 seconds" })
      const classify = () => Outcome.failure({ retryAfter: "40 seconds" })
      yield* Effect.exit(breaker.wrapWith(Effect.fail("busy"), { classify }))
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(40))
      yield* TestClock.adjust("40 seconds")
      yield* Effect.exit(breaker.wrapWith(Effect.fail("busy"), { classify }))
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(40))
      yield* TestClock.adjust("40 seconds")
      yield* failTimes(breaker, 1)
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(10))
    }))

  it.effect("a retryAfter hint is read from an error that carries its outcome", () =>
    Effect.gen(function*() {
      const breaker = yield* make("carried", { trip: one, openFor: "10 seconds" })
      const error = { [Outcome.outcome]: Outcome.failure({ retryAfter: "20 seconds" }) }
      assert.strictEqual(yield* Effect.flip(breaker.wrap(Effect.fail(error))), error)
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(20))
    }))
})
