import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { addCounts, type Bucket, totals, widthFor, widthsFor } from "../../src/core/Buckets.ts"
import type { AgedCounts, Delta, Streak } from "../../src/core/Delta.ts"
import {
  aged,
  concat,
  extendRun,
  isEmpty,
  merge,
  noDelta,
  noLifetimeCounts,
  noStreak,
  streakOf
} from "../../src/core/Delta.ts"

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))
const Age = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8 }))
const Outcomes = Schema.Array(Schema.Boolean).check(Schema.isMaxLength(6))
/** The calls of a delta. */
const Calls = Schema.Array(
  Schema.Struct({ age: Age, failed: Schema.Boolean, slow: Schema.Boolean, hint: Count, took: Count })
)
  .check(Schema.isMaxLength(6))
type Calls = typeof Calls.Type

const countsOf = (calls: Calls) => ({
  success: calls.filter((call) => !call.failed).length,
  failure: calls.filter((call) => call.failed).length,
  slow: calls.filter((call) => call.slow).length
})

const ages = (calls: Calls) => calls.map(({ age }) => age)
const last = (of: "Success" | "Failure", calls: Calls) => {
  const call = calls.findLast(({ age }) => age === Math.min(...ages(calls)))
  // Not every policy reads the clock when a call begins.
  const took = call === undefined || call.took === 0 ? {} : { [`last${of}Duration`]: call.took }
  return call === undefined ? {} : { [`last${of}Age`]: call.age, ...took }
}

const deltaOf = (calls: Calls): Delta => ({
  buckets: [...new Set(ages(calls))].sort((a, b) => b - a)
    .map((age) => ({ age, ...countsOf(calls.filter((call) => call.age === age)) })),
  streak: streakOf(calls.map(({ failed }) => failed)),
  lifetime: {
    ...noLifetimeCounts,
    ...countsOf(calls),
    ...last("Success", calls.filter(({ failed }) => !failed)),
    ...last("Failure", calls.filter(({ failed }) => failed))
  },
  hint: Math.max(0, ...calls.map(({ hint }) => hint))
})

describe("Streak", () => {
  it("a streak has the lengths of the failure runs at both ends", () => {
    const of = (text: string): Streak => streakOf([...text].map((outcome) => outcome === "F"))
    assert.deepStrictEqual(of(""), noStreak)
    assert.deepStrictEqual(of("FFF"), { leading: 3, sawSuccess: false, trailing: 3 })
    assert.deepStrictEqual(of("S"), { leading: 0, sawSuccess: true, trailing: 0 })
    assert.deepStrictEqual(of("FFSFSFFF"), { leading: 2, sawSuccess: true, trailing: 3 })
  })

  it("a run of failures continues over reports, and only a success ends it", () => {
    const reports = [[true, true], [], [true], [true, false, true], [true]].map(streakOf)
    assert.deepStrictEqual(reports.map((streak, i) => reports.slice(0, i + 1).reduce(extendRun, 0)), [2, 2, 3, 1, 2])
  })

  it.prop("one streak of two lists is that of the joined list", [Outcomes, Outcomes], ([a, b]) => {
    assert.deepStrictEqual(concat(streakOf(a), streakOf(b)), streakOf([...a, ...b]))
  })

  it.prop("streaks are a monoid", [Outcomes, Outcomes, Outcomes], ([x, y, z]) => {
    const [a, b, c] = [streakOf(x), streakOf(y), streakOf(z)]
    assert.deepStrictEqual(concat(concat(a, b), c), concat(a, concat(b, c)))
    assert.deepStrictEqual(concat(noStreak, a), a)
    assert.deepStrictEqual(concat(a, noStreak), a)
  })
})

describe("Delta", () => {
  it.prop("the merge of two deltas is the delta of all their calls", [Calls, Calls], ([a, b]) => {
    assert.deepStrictEqual(merge(deltaOf(a), deltaOf(b)), deltaOf([...a, ...b]))
  })

  it.prop("merging deltas is associative, and noDelta is its identity", [Calls, Calls, Calls], ([x, y, z]) => {
    const [a, b, c] = [deltaOf(x), deltaOf(y), deltaOf(z)]
    assert.deepStrictEqual(merge(merge(a, b), c), merge(a, merge(b, c)))
    assert.deepStrictEqual(merge(noDelta, a), a)
    assert.deepStrictEqual(merge(a, noDelta), a)
  })

  it("an aged delta keeps its counts and grows older", () => {
    const delta = deltaOf([
      { age: 2, failed: true, slow: true, hint: 5, took: 8 },
      { age: 1, failed: false, slow: false, hint: 0, took: 0 }
    ])
    const late = aged(delta, 3)
    assert.deepStrictEqual(late.buckets, [
      { age: 5, success: 0, failure: 1, slow: 1 },
      { age: 4, success: 1, failure: 0, slow: 0 }
    ])
    assert.deepStrictEqual(late.lifetime, { ...delta.lifetime, lastFailureAge: 5, lastSuccessAge: 4 })
    assert.strictEqual(late.hint, 2)
    assert.strictEqual(aged(delta, 10).hint, 0)
    assert.deepStrictEqual(aged(noDelta, 3), noDelta)
  })

  it.prop("a delta is empty exactly if it has no call", [Calls], ([calls]) => {
    assert.strictEqual(isEmpty(deltaOf(calls)), calls.length === 0)
  })

  it("a delta with a rejected, ignored or timed out call is not empty", () => {
    assert.isTrue(isEmpty(noDelta))
    for (const key of ["rejected", "ignored", "timeout"] as const) {
      assert.isFalse(isEmpty({ ...noDelta, lifetime: { ...noLifetimeCounts, [key]: 1 } }))
    }
  })
})

describe("Buckets", () => {
  const MINUTE = 60_000
  const HOUR = 60 * MINUTE

  it("the bucket width of a span is the smallest of which sixty buckets cover it", () => {
    const widths = [1, 1000, MINUTE, MINUTE + 1, 10 * MINUTE, 10 * MINUTE + 1, HOUR, HOUR + 1, 10 * HOUR]
      .map(widthFor)
    assert.deepStrictEqual(widths, [1000, 1000, 1000, 10_000, 10_000, MINUTE, MINUTE, 10 * MINUTE, 10 * MINUTE])
    assert.deepStrictEqual(widthsFor([HOUR, 5, MINUTE, 10 * HOUR]), [1000, MINUTE, 10 * MINUTE])
    assert.deepStrictEqual(widthsFor([]), [])
  })

  const one = (age: number): ReadonlyArray<AgedCounts> => [{ age, success: 0, failure: 1, slow: 0 }]
  const failures = (window: ReadonlyArray<Bucket>, withins: ReadonlyArray<number>, now: number) =>
    totals(window, withins, now).map(({ failure }) => failure)

  const Millis = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 70_000 }))

  it.prop("a call never counts once it is `within` old, and leaves at most a bucket early", [Millis, Millis, Millis], (
    [at, later, within]
  ) => {
    const span = Math.max(1000, Math.min(within, MINUTE))
    const now = at + later
    const [counted] = failures(addCounts([], one(0), [span], at), [span], now)
    if (later >= span) assert.strictEqual(counted, 0)
    if (later < span - 1000) assert.strictEqual(counted, 1)
  })

  it.prop(
    "a span beside others of any length is counted as exactly as alone (F10)",
    [Millis, Millis, Schema.Array(Schema.Tuple([Millis, Millis])).check(Schema.isMaxLength(20))],
    ([within, other, calls]) => {
      const [short, long] = [1 + within, 1 + other * 500]
      const count = (withins: ReadonlyArray<number>) =>
        calls.toSorted(([a], [b]) => a - b).reduce<ReadonlyArray<Bucket>>(
          (window, [at, age]) => addCounts(window, one(age), withins, at),
          []
        )
      for (const span of [short, long]) {
        assert.deepStrictEqual(
          totals(count([short, long]), [span], 70_000),
          totals(count([span]), [span], 70_000),
          `${span} of ${short} and ${long}`
        )
      }
    }
  )

  it.prop("calls are counted at their own time, whenever their report arrives", [Count, Age], ([at, late]) => {
    const window = addCounts([], one(0), [MINUTE], at * 777)
    assert.deepStrictEqual(addCounts([], one(late * 7000), [MINUTE], at * 777 + late * 7000), window)
  })

  it("buckets older than the window are dropped, and an idle gap brings none back", () => {
    assert.deepStrictEqual(addCounts([], one(60_000), [MINUTE], 100_000), [])
    const window = addCounts([], one(0), [MINUTE], 100_500)
    assert.deepStrictEqual(failures(window, [MINUTE, 1000], 159_999), [1, 0])
    assert.deepStrictEqual(failures(window, [MINUTE], 160_000), [0])
    assert.deepStrictEqual(addCounts(window, one(0), [MINUTE], 7_000_000).length, 1)
  })

  it("an age below zero counts as now, and after a clock was set back no future bucket is left", () => {
    assert.deepStrictEqual(addCounts([], one(-5000), [MINUTE], 100_000), addCounts([], one(0), [MINUTE], 100_000))
    const window = addCounts([], one(0), [MINUTE], 100_000)
    assert.deepStrictEqual(failures(window, [MINUTE], 50_000), [0])
    assert.deepStrictEqual(addCounts(window, [], [MINUTE], 50_000), [])
  })

  it("policies share the counts of the bucket widths that they have in common", () => {
    const narrow = addCounts([], one(0), [MINUTE], 100_000)
    const both = addCounts(narrow, one(0), [HOUR, 5000], 100_000)
    const more = addCounts(both, one(0), [30_000], 100_000)
    assert.deepStrictEqual(failures(more, [30_000, 5000], 100_000), [3, 3])
    assert.deepStrictEqual(failures(more, [HOUR, MINUTE], 100_000), [1, 3])
    assert.deepStrictEqual(failures(more, [10 * HOUR], 100_000), [0])
    assert.deepStrictEqual(totals(more, [], 100_000), [])
    assert.strictEqual(addCounts(more, one(0), [], 100_000).length, 2, "a policy that looks at no span enters none")
  })

  it("a span shorter than a bucket reads the current bucket", () => {
    const window = addCounts([], one(0), [500], 100_000)
    assert.deepStrictEqual(failures(window, [500], 100_999), [1])
    assert.deepStrictEqual(failures(window, [500], 101_000), [0])
  })

  it("a window holds at most sixty buckets", () => {
    let window: ReadonlyArray<Bucket> = []
    for (let now = 0; now < 200_000; now += 500) window = addCounts(window, one(0), [MINUTE], now)
    assert.strictEqual(window.length, 60)
  })
})
