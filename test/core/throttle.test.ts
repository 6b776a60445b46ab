import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { couldShed, shareOf, type Throttle } from "../../src/core/Throttle.ts"

const throttle: Throttle = { k: 2, window: { _tag: "Within", duration: 120_000 }, minimumCalls: 20, max: 0.9 }

const totals = (success: number, failure: number, shed = 0) => ({ success, failure, slow: 0, shed })

describe("the share that is shed", () => {
  it("is that of the formula, with calls that were shed among the requests", () => {
    assert.strictEqual(shareOf(throttle, totals(50, 50), undefined), 0)
    assert.strictEqual(shareOf(throttle, totals(40, 60), undefined), 20 / 101)
    assert.strictEqual(shareOf(throttle, totals(40, 40, 20), undefined), 20 / 101)
    assert.strictEqual(shareOf({ ...throttle, k: 1 }, totals(40, 60), undefined), 60 / 101)
  })

  it("is at most max, and nothing of fewer requests than minimumCalls", () => {
    assert.strictEqual(shareOf(throttle, totals(0, 1000), undefined), 0.9)
    assert.strictEqual(shareOf(throttle, totals(0, 19), undefined), 0)
    assert.strictEqual(shareOf(throttle, totals(0, 20), undefined), 0.9)
  })

  it("of an instance with few calls is the fleet's", () => {
    const fleet = totals(300, 500, 200)
    assert.approximately(shareOf(throttle, totals(0, 0), fleet), 0.4, 0.02)
    assert.isAbove(shareOf(throttle, totals(1, 0), fleet), 0.3)
  })

  it("of an instance with calls enough is its own, whatever the fleet meets", () => {
    assert.strictEqual(shareOf(throttle, totals(200, 0), totals(200, 1800)), 0)
    assert.isAbove(shareOf(throttle, totals(0, 200), totals(1800, 200)), 0.75)
  })

  const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))

  it.prop("is never negative or above max, and grows with failures as it shrinks with successes", [
    Schema.Tuple([Count, Count, Count, Count, Count, Count])
  ], ([[a, b, c, d, e, f]]) => {
    const own = totals(a, b, c)
    const fleet = totals(d, e, f)
    const share = shareOf(throttle, own, fleet)
    assert.isTrue(share >= 0 && share <= 0.9)
    assert.isAtLeast(shareOf(throttle, totals(a, b + 20, c), fleet), share)
    if (a + b + c! >= 20) assert.isAtMost(shareOf(throttle, totals(a + 1, b, c), fleet), share)
  })
})

describe("whether calls could be shed", () => {
  const on = (success: number, failure: number, shed = 0) =>
    couldShed(throttle, { totals: () => totals(success, failure, shed) }, 0.8)

  it("is said before they are, and of as many requests as can still be missing", () => {
    assert.isTrue(on(60, 40))
    assert.isFalse(on(61, 39))
    assert.isTrue(on(60, 0, 40))
    assert.isTrue(on(0, 8))
    assert.isFalse(on(0, 7))
  })
})
