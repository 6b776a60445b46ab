import { assert, describe, it } from "@effect/vitest"
import { type Delta, noCounts, noDelta, noLifetimeCounts, streakOf } from "../../src/core/Delta.ts"
import { created, snapshot } from "../../src/core/Record.ts"
import { couldTrip, type Totals, type TripRule } from "../../src/core/TripRule.ts"
import { couldMatter, isUrgent, lazyMillisOf, Vigil } from "../../src/internal/fleet/Vigil.ts"

const window = { _tag: "Within", duration: 30_000 } as const
const consecutive: TripRule = { _tag: "ConsecutiveFailures", failures: 5 }
const count: TripRule = { _tag: "Failures", count: 10, window }
const rate: TripRule = { _tag: "FailureRate", threshold: 0.5, minimumCalls: 20, window }
const slow: TripRule = { _tag: "SlowCallRate", threshold: 0.5, minimumCalls: 20, slowerThan: 100, window }

const on = (rule: TripRule, totals: Partial<Totals>, streak = 0): boolean =>
  couldTrip(rule, { streak, totals: () => ({ ...noCounts, ...totals }) }, { streak: 0.8, totals: 0.8 })

describe("whether a rule could trip", () => {
  it("where alerts are in vain, a row has to be as long as the rule says", () => {
    const couldAt = (streak: number, isInVain: boolean) =>
      couldMatter(plan(consecutive), { streak, totals: () => noCounts }, isInVain)
    assert.deepStrictEqual([3, 4, 5].map((streak) => couldAt(streak, false)), [false, true, true])
    assert.deepStrictEqual([3, 4, 5].map((streak) => couldAt(streak, true)), [false, false, true])
  })

  it("thresholds are multiplied, and counts are rounded up", () => {
    assert.deepStrictEqual([3, 4, 5].map((streak) => on(consecutive, {}, streak)), [false, true, true])
    assert.deepStrictEqual([7, 8].map((failure) => on(count, { failure })), [false, true])
  })

  it("what is not known fills the minimum of a rate with successes, and does not keep it from tripping", () => {
    assert.deepStrictEqual([7, 8].map((failure) => on(rate, { failure })), [false, true])
    assert.deepStrictEqual([7, 8].map((bad) => on(slow, { slow: bad, success: bad })), [false, true])
    assert.isFalse(on(rate, { failure: 39, success: 61 }))
    assert.isTrue(on(rate, { failure: 40, success: 60 }))
    assert.isFalse(on(rate, { success: 100 }))
  })

  it("any and all ask their rules", () => {
    assert.isTrue(on({ _tag: "Any", policies: [consecutive, rate] }, { failure: 8 }))
    assert.isFalse(on({ _tag: "All", policies: [consecutive, rate] }, { failure: 8 }, 3))
    assert.isTrue(on({ _tag: "All", policies: [consecutive, rate] }, { failure: 8 }, 4))
  })
})

const failed = (n: number, successes = 0): Delta => ({
  buckets: [{ age: 100, success: successes, failure: n, slow: 0 }],
  streak: streakOf([...Array.from({ length: successes }, () => false), ...Array.from({ length: n }, () => true)]),
  lifetime: { ...noLifetimeCounts, success: successes, failure: n },
  hint: 0
})

const plan = (rule: TripRule) => ({ rule, throttle: undefined })

describe("whether outcomes are urgent", () => {
  const known = (totals: Partial<Totals>, members: number, streak = 0) => ({
    snapshot: { ...snapshot({ ...created(0), streak }, [], 0, 1e9), members },
    answeredAt: 0,
    totals: () => ({ ...noCounts, ...totals })
  })

  it("each other instance is supposed to have as many failures", () => {
    assert.isFalse(isUrgent(plan(consecutive), known({}, 3), failed(1), false, 0))
    assert.isTrue(isUrgent(plan(consecutive), known({}, 4), failed(1), false, 0))
    assert.isTrue(isUrgent(plan(consecutive), known({}, 3, 1), failed(1), false, 0))
    assert.isFalse(
      isUrgent(plan(consecutive), known({}, 3, 1), failed(1, 1), false, 0),
      "its own success ends the known streak"
    )
  })

  it("of fewer than three instances three are supposed, because who reports first sees one", () => {
    assert.isFalse(isUrgent(plan(consecutive), known({}, 1), failed(1), false, 0))
    assert.isTrue(isUrgent(plan(consecutive), known({}, 1), failed(2), false, 0))
  })

  it("known successes fade with their window", () => {
    assert.isFalse(isUrgent(plan(rate), known({ success: 100 }, 3), failed(10), false, 0))
    assert.isTrue(isUrgent(plan(rate), known({ success: 100 }, 3), failed(10), false, 29_000))
  })

  it("without failures and slow calls nothing is", () => {
    assert.isFalse(
      isUrgent(
        plan(consecutive),
        known({}, 1, 5),
        { ...noDelta, lifetime: { ...noLifetimeCounts, success: 5 } },
        false,
        0
      )
    )
  })
})

describe("how long a healthy circuit is silent", () => {
  it("a third of the shortest window, at least an interval, at most 30 s and a quarter of the idle time", () => {
    const hour = 3_600_000
    assert.strictEqual(lazyMillisOf([], 1000, hour), 30_000)
    assert.strictEqual(lazyMillisOf([30_000, 300_000], 1000, hour), 10_000)
    assert.strictEqual(lazyMillisOf([600_000], 1000, hour), 30_000)
    assert.strictEqual(lazyMillisOf([1000], 1000, hour), 1000)
    assert.strictEqual(lazyMillisOf([], 1000, 60_000), 15_000)
  })
})

describe("an alert, as an instance hears of it", () => {
  it("lasts as long as the storage said last at most, is news once, and ends with the generation", () => {
    const vigil = new Vigil()
    assert.isTrue(vigil.hear(3000, 1000, 0))
    assert.isFalse(vigil.hear(2000, 1000, 1000))
    assert.isTrue(vigil.isAlert(2999))
    assert.isFalse(vigil.isAlert(3000))
    assert.isTrue(vigil.hear(3000, 1000, 4000))
    vigil.forget()
    assert.isFalse(vigil.isAlert(4001))
  })

  it("is in vain, when alerts less than thirty intervals apart have opened nothing for ten, until none came for thirty", () => {
    const vigil = new Vigil()
    for (const at of [0, 4000, 9000]) vigil.hear(3000, 1000, at)
    assert.isFalse(vigil.isInVain(1000, 10_000))
    assert.isTrue(vigil.isInVain(1000, 10_001))
    assert.isTrue(vigil.isInVain(1000, 42_000))
    assert.isFalse(vigil.isInVain(1000, 42_001))
    vigil.hear(3000, 1000, 42_001)
    assert.isFalse(vigil.isInVain(1000, 50_000), "the next one begins another run")
    assert.isTrue(vigil.isInVain(1000, 52_002))
    vigil.forget()
    assert.isFalse(vigil.isInVain(1000, 52_002), "a new generation has had none")
  })

  it("says when an instance has reported more often than once an interval", () => {
    const vigil = new Vigil()
    vigil.reported(1000, 0)
    assert.isFalse(vigil.isAhead(1000, 0))
    vigil.reported(1000, 500)
    assert.isTrue(vigil.isAhead(1000, 999))
    assert.isFalse(vigil.isAhead(1000, 1000))
    vigil.reported(1000, 5000)
    assert.isFalse(vigil.isAhead(1000, 5000), "what was not reported is not saved up")
  })

  it("is called when less than half of one is left, and not twice in half an interval", () => {
    const vigil = new Vigil()
    assert.isTrue(vigil.calls(1000, 0))
    assert.isFalse(vigil.calls(1000, 499), "whatever the storage answers")
    assert.isTrue(vigil.calls(1000, 500))
    vigil.hear(3000, 1000, 500)
    assert.isFalse(vigil.calls(1000, 2000))
    assert.isTrue(vigil.calls(1000, 2001))
  })
})
