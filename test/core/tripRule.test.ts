import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  approach,
  type RuleWindow,
  slowerThanOf,
  standing,
  type TripRule,
  trips,
  windowsOf
} from "../../src/core/TripRule.ts"
import { holds, type Outcome, streakOf, totalsOf, within } from "../circuit/model.ts"

const span = (duration: number): RuleWindow => ({ _tag: "Within", duration })
const last = (calls: number): RuleWindow => ({ _tag: "LastCalls", calls })

const failureRate = (threshold: number, minimumCalls = 1, window = last(1000)): TripRule => ({
  _tag: "FailureRate",
  threshold,
  minimumCalls,
  window
})
const slowCallRate = (threshold: number, minimumCalls = 1, slowerThan = 100): TripRule => ({
  _tag: "SlowCallRate",
  threshold,
  minimumCalls,
  slowerThan,
  window: last(1000)
})
const consecutive = (failures: number): TripRule => ({ _tag: "ConsecutiveFailures", failures })
const failures = (count: number): TripRule => ({ _tag: "Failures", count, window: span(1000) })

const on = (rule: TripRule, evidence: { success?: number; failure?: number; slow?: number; streak?: number }) =>
  trips(rule, {
    streak: evidence.streak ?? 0,
    totals: () => ({ success: evidence.success ?? 0, failure: evidence.failure ?? 0, slow: evidence.slow ?? 0 })
  })

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const WINDOWS = [span(60), span(1000), last(1), last(5), last(20)]
const Leaf = Schema.Struct({ kind: upTo(3), window: upTo(WINDOWS.length - 1), percent: upTo(100), count: upTo(6) })

const leaf = ({ count, kind, percent, window: index }: typeof Leaf.Type): TripRule => {
  const window = WINDOWS[index]!
  const rate = { threshold: percent / 100, minimumCalls: 1 + count, window }
  const rules: ReadonlyArray<TripRule> = [
    consecutive(1 + count),
    { _tag: "Failures", count: 1 + count, window },
    { _tag: "FailureRate", ...rate },
    { _tag: "SlowCallRate", slowerThan: 1, ...rate }
  ]
  return rules[kind]!
}

/** Rules of every kind, alone and combined. */
const Rule = Schema.Struct({
  leaves: Schema.Array(Leaf).check(Schema.isMinLength(1), Schema.isMaxLength(4)),
  shape: upTo(4)
})

const ruleOf = ({ leaves, shape }: typeof Rule.Type): TripRule => {
  const policies = leaves.map(leaf)
  const rest: TripRule = { _tag: "All", policies: policies.slice(1) }
  return shape < 2
    ? { _tag: "Any", policies }
    : shape < 4
    ? { _tag: "All", policies }
    : { _tag: "Any", policies: policies.length === 1 ? policies : [policies[0]!, rest] }
}

describe("a rule and the list of all calls", () => {
  it.prop("a rule and the list of all calls agree whether it trips, and every trip has a reason", [
    Rule,
    Schema.Array(Schema.Struct({ wait: upTo(100), failed: Schema.Boolean, slow: Schema.Boolean })).check(
      Schema.isMaxLength(40)
    )
  ], ([shape, calls]) => {
    const rule = ruleOf(shape)
    const outcomes: Array<Outcome> = []
    let now = 0
    for (const { failed, slow, wait } of calls) {
      now += wait
      outcomes.push({ at: now, failed, slow })
      const reason = trips(rule, {
        streak: streakOf(outcomes),
        totals: (window) => totalsOf(within(outcomes, window, now))
      })
      assert.strictEqual(reason !== undefined, holds(rule, outcomes, now))
      if (reason !== undefined) assert.match(reason, /\d/)
    }
  }, { arbitrary: { runs: 300, size: 40 } })

  it("a rate is reached at exactly its threshold, for every share of up to 200 calls (C1.2)", () => {
    for (let calls = 1; calls <= 200; calls++) {
      for (let bad = 1; bad <= calls; bad++) {
        const of = (failure: number) => ({ failure, slow: failure, success: calls - failure })
        const reached = `${bad} of ${calls}`
        assert.isDefined(on(failureRate(bad / calls), of(bad)), reached)
        assert.isUndefined(on(failureRate(bad / calls), of(bad - 1)), reached)
        assert.isDefined(on(slowCallRate(bad / calls), of(bad)), reached)
      }
    }
  })

  it("a rate is reached at exactly its threshold, for every whole percent (C1.2)", () => {
    for (let percent = 1; percent <= 100; percent++) {
      const threshold = Number(`${percent}e-2`)
      for (const hundreds of [1, 3, 1000]) {
        const at = (failure: number) => on(failureRate(threshold), { failure, success: 100 * hundreds - failure })
        assert.isDefined(at(percent * hundreds), `${percent} %`)
        assert.isUndefined(at(percent * hundreds - 1), `${percent} %`)
      }
    }
  })
})

describe("rates", () => {
  it("a rate trips only from the minimum of calls on (C1.1, C1.7)", () => {
    assert.isUndefined(on(failureRate(0.5, 10), { failure: 9 }))
    assert.isDefined(on(failureRate(0.5, 10), { failure: 10 }))
    assert.isDefined(on(failureRate(0.5, 10), { failure: 9, success: 1 }))
    assert.isUndefined(on(slowCallRate(0.5, 10), { success: 9, slow: 9 }))
  })

  it("a rate never trips without a failure, even at a threshold of zero (C1.4)", () => {
    assert.isUndefined(on(failureRate(0), { success: 1000 }))
    assert.isDefined(on(failureRate(0), { success: 999, failure: 1 }))
    assert.isUndefined(on(slowCallRate(0), { success: 10, failure: 10 }))
  })

  it("an empty window never trips, even without a minimum (C1.5)", () => {
    for (const threshold of [0, 0.5, 1]) {
      assert.isUndefined(on(failureRate(threshold, 0), {}))
      assert.isUndefined(on(slowCallRate(threshold, 0), {}))
    }
  })

  it("a slow failure is one call, failed and slow (C1.13)", () => {
    assert.isUndefined(on(slowCallRate(0.5, 3), { failure: 2, slow: 2 }))
    assert.isDefined(on(slowCallRate(0.5, 3), { success: 1, failure: 2, slow: 2 }))
    assert.isDefined(on(failureRate(0.5, 3), { success: 1, failure: 2, slow: 2 }))
  })

  it("slow calls do not count as failures, nor failures as slow", () => {
    assert.isUndefined(on(failureRate(0.1), { success: 10, slow: 10 }))
    assert.isUndefined(on(slowCallRate(0.1), { failure: 10 }))
  })
})

describe("combinations", () => {
  const both: ReadonlyArray<TripRule> = [consecutive(2), failures(3)]

  it("any trips with the first rule that does, and gives its reason (C1.10)", () => {
    const any: TripRule = { _tag: "Any", policies: both }
    assert.strictEqual(on(any, { streak: 2, failure: 3 }), "2 consecutive failures")
    assert.strictEqual(on(any, { streak: 1, failure: 3 }), "3 failures within 1 s")
    assert.isUndefined(on(any, { streak: 1, failure: 2 }))
  })

  it("all trips when all rules do, and gives every reason", () => {
    const all: TripRule = { _tag: "All", policies: both }
    assert.strictEqual(on(all, { streak: 2, failure: 3 }), "2 consecutive failures and 3 failures within 1 s")
    assert.isUndefined(on(all, { streak: 2, failure: 2 }))
    assert.isUndefined(on(all, { streak: 1, failure: 3 }))
  })

  it("any and all can be nested", () => {
    const rule: TripRule = {
      _tag: "All",
      policies: [failureRate(0.5, 4), { _tag: "Any", policies: [consecutive(2), slowCallRate(0.5, 4)] }]
    }
    assert.isUndefined(on(rule, { failure: 2, success: 2 }))
    assert.isDefined(on(rule, { failure: 2, success: 2, streak: 2 }))
    assert.isDefined(on(rule, { failure: 2, success: 2, slow: 2 }))
    assert.isUndefined(on(rule, { failure: 1, success: 3, slow: 4, streak: 2 }))
  })

  it("combined rules read each window once, in their order", () => {
    const rule: TripRule = {
      _tag: "Any",
      policies: [
        failureRate(0.5, 1, span(1000)),
        consecutive(2),
        { _tag: "All", policies: [failures(3), failureRate(1, 1, last(1000)), failureRate(0.5, 1, last(1000))] },
        failureRate(0.5, 1, span(999))
      ]
    }
    assert.deepStrictEqual(windowsOf(rule), [span(1000), last(1000), span(999)])
    assert.deepStrictEqual(windowsOf(consecutive(1)), [])
  })

  it("combined rules have the slowerThan of their slow-call rule, or none", () => {
    assert.isUndefined(slowerThanOf({ _tag: "Any", policies: both }))
    assert.strictEqual(slowerThanOf({ _tag: "All", policies: [...both, slowCallRate(1, 1, 250)] }), 250)
    assert.strictEqual(slowerThanOf(slowCallRate(1, 1, 0)), 0)
  })
})

describe("how far a rule is from tripping", () => {
  const totals = { success: 7, failure: 2, slow: 1 }
  const stands = (rule: TripRule) => standing(rule, { streak: 1, totals: () => totals })

  it("standing says how far each rule is from tripping", () => {
    assert.strictEqual(stands(consecutive(5)), "1 of 5 consecutive failures")
    assert.strictEqual(stands(failures(3)), "2 of 3 failures within 1 s")
    assert.strictEqual(
      stands(failureRate(0.5, 20, span(30_000))),
      "failure rate 0.22 of 9 calls within 30 s, trips at 0.5 of at least 20"
    )
    assert.strictEqual(
      stands(slowCallRate(0.9, 4)),
      "slow call rate 0.11 of the last 9 calls, trips at 0.9 of at least 4"
    )
    const both = [consecutive(5), failures(3)]
    assert.strictEqual(
      stands({ _tag: "Any", policies: both }),
      "1 of 5 consecutive failures; 2 of 3 failures within 1 s"
    )
    assert.strictEqual(
      stands({ _tag: "All", policies: both }),
      "1 of 5 consecutive failures and 2 of 3 failures within 1 s"
    )
  })

  it("standing before the first call is zero", () => {
    const none = { streak: 0, totals: () => ({ success: 0, failure: 0, slow: 0 }) }
    assert.strictEqual(
      standing(failureRate(0.5, 2), none),
      "failure rate 0.00 of the last 0 calls, trips at 0.5 of at least 2"
    )
  })
})

describe("how close a rule is to tripping", () => {
  const Counts = Schema.Struct({ success: upTo(100), failure: upTo(100), slow: upTo(100), streak: upTo(8) })

  /** The evidence of these counts, the same for each window. `failed` and `slow`: with so many calls more. */
  const evidenceOf = (counts: typeof Counts.Type, more = { failed: 0, slow: 0 }) => {
    const failure = counts.failure + more.failed
    const calls = counts.success + failure
    return {
      streak: counts.streak + more.failed,
      totals: () => ({ success: counts.success, failure, slow: Math.min(counts.slow, calls - more.slow) + more.slow })
    }
  }

  it.prop("approach is 1 exactly when the rule trips", [Rule, Counts], ([shape, counts]) => {
    const rule = ruleOf(shape)
    const evidence = evidenceOf(counts)
    assert.strictEqual(approach(rule, evidence) === 1, trips(rule, evidence) !== undefined)
  }, { arbitrary: { runs: 2000 } })

  it.prop(
    "approach is a share, which grows with failures and with slow failures",
    [Rule, Counts],
    ([shape, counts]) => {
      const rule = ruleOf(shape)
      let before = 0
      for (let failed = 0; failed < 10; failed++) {
        const share = approach(rule, evidenceOf(counts, { failed, slow: failed }))
        assert.isAtLeast(share, before)
        assert.isAtMost(share, 1)
        before = share
      }
    },
    { arbitrary: { runs: 500 } }
  )

  it("approach is exact for every share of up to 200 calls, and every whole percent", () => {
    for (let calls = 1; calls <= 200; calls++) {
      for (let bad = 1; bad <= calls; bad++) {
        const totals = { success: calls - bad, failure: bad, slow: 0 }
        for (const percent of [1, 7, 28, 33, 50, 57, 58, 99]) {
          const rule = failureRate(percent / 100, 20)
          const evidence = { streak: 0, totals: () => totals }
          assert.strictEqual(approach(rule, evidence) === 1, trips(rule, evidence) !== undefined, `${bad} of ${calls}`)
        }
      }
    }
  })

  it("approach is the share of the threshold that is closest", () => {
    const at = (rule: TripRule, success: number, failure: number, streak = failure) =>
      approach(rule, { streak, totals: () => ({ success, failure, slow: 0 }) })
    assert.strictEqual(at(consecutive(5), 0, 4), 0.8)
    assert.strictEqual(at(failures(10), 90, 7), 0.7)
    // Of a rate, the share of its minimum of calls counts where that is smaller.
    assert.strictEqual(at(failureRate(0.5, 20), 0, 5), 0.25)
    assert.strictEqual(at(failureRate(0.5, 20), 75, 25), 0.5)
    assert.strictEqual(at(failureRate(0, 20), 20, 0), 0)
    assert.strictEqual(at(slowCallRate(0.5), 10, 10), 0)
    assert.strictEqual(at({ _tag: "Any", policies: [consecutive(5), failures(10)] }, 0, 4), 0.8)
    assert.strictEqual(at({ _tag: "All", policies: [consecutive(5), failures(10)] }, 0, 4), 0.4)
  })
})

describe("reasons", () => {
  it("a reason gives the numbers that tripped the rule", () => {
    assert.strictEqual(on(consecutive(2), { streak: 3 }), "3 consecutive failures")
    assert.strictEqual(
      on(failureRate(0.5), { failure: 2, success: 1 }),
      "failure rate 0.67 of the last 3 calls"
    )
    assert.strictEqual(
      on(slowCallRate(0.5), { slow: 2, success: 2 }),
      "slow call rate 1.00 of the last 2 calls"
    )
  })
})
