import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Trip } from "../src/index.ts"
import { Hurry } from "../src/internal/fleet/Hurry.ts"
import { processes } from "./support/storages.ts"
import { failTimes, untilQuiet } from "./utils.ts"

describe("hurried reports", () => {
  it("each makes the next one twice as late, up to an interval, and three intervals without one twice as soon again", () => {
    const hurry = new Hurry()
    let now = 0
    const delays = Array.from({ length: 8 }, () => {
      const delay = hurry.next(now, 1000) - now
      now += delay
      hurry.sent(now, 1000)
      return delay
    })
    assert.deepStrictEqual(delays, [50, 100, 200, 400, 800, 1000, 1000, 1000])
    const later = (millis: number) => hurry.next(now + millis, 1000) - (now + millis)
    assert.deepStrictEqual([2999, 3000, 6000, 9000, 12_000, 15_000].map(later), [1000, 500, 250, 125, 62.5, 50])
    hurry.sent(now + 6000, 1000)
    assert.strictEqual(hurry.next(now + 6000, 1000), now + 6500)
  })

  it("a failure that is not reported makes no other wait", () => {
    const hurry = new Hurry()
    for (let now = 0; now < 1000; now += 50) assert.strictEqual(hurry.next(now, 1000), now + 50)
  })

  it("none waits longer than an interval", () => {
    assert.strictEqual(new Hurry().next(10, 20), 30)
  })

  it.effect("a dependency that fails in part costs its storage two requests an interval at most, and nothing is lost", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      const breaker = yield* link!.make("partly", { trip: Trip.consecutiveFailures(5000), evidence: "pooled" })
      const calls = (seconds: number) =>
        Effect.repeat(
          Effect.andThen(Effect.andThen(failTimes(breaker, 1), TestClock.adjust("10 millis")), untilQuiet),
          { times: seconds * 100 - 1 }
        )
      yield* calls(3)
      const before = link!.reports.length
      yield* calls(10)
      assert.isAtMost(link!.reports.length - before, 20)
      yield* Effect.andThen(TestClock.adjust("2 seconds"), untilQuiet)
      assert.strictEqual((yield* breaker.snapshot).fleet?.consecutiveFailures, 1300)
    }))
})
