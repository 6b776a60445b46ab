import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { RuleWindow } from "../../src/core/TripRule.ts"
import { makeWindows, type Window } from "../../src/core/Window.ts"
import { type Outcome, totalsOf, within } from "../circuit/model.ts"

const Between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Steps = Schema.Array(Schema.Struct({
  wait: Between(0, 11),
  failed: Schema.Boolean,
  slow: Schema.Boolean,
  read: Schema.Boolean
})).check(Schema.isMaxLength(150))

const totals = ({ failure, slow, success }: Window) => ({ success, failure, slow })
const span = (duration: number): RuleWindow => ({ _tag: "Within", duration })
const lastCalls = (calls: number): RuleWindow => ({ _tag: "LastCalls", calls })

const windowsFor = (windows: ReadonlyArray<RuleWindow>, countsSlow: boolean): Window | undefined =>
  makeWindows({ windows, slowerThanMillis: countsSlow ? 1000 : undefined, throttle: undefined })

const linked = (first: Window | undefined): ReadonlyArray<Window> => {
  const all = []
  for (let window = first; window !== undefined; window = window.next) all.push(window)
  return all
}

/** One window, with shorthands to record and to read. */
const one = (of: RuleWindow) => {
  const window = windowsFor([of], true)!
  return {
    record: (now: number, failed = true, slow = false) => window.record(now, failed, slow),
    at: (now: number) => {
      window.advance(now)
      return window.success + window.failure
    },
    window
  }
}

describe("windows and the list of all calls", () => {
  it.prop("windows and the list of all calls have the same totals after every call and every wait", [
    Between(1, 3000),
    Between(1, 20),
    Between(0, 1_000_000_000),
    Steps
  ], ([duration, calls, start, steps]) => {
    const windows = [span(duration), lastCalls(calls), span(60 * duration)]
    const all = linked(windowsFor(windows, true))
    const outcomes: Array<Outcome> = []
    const bucket = Math.ceil(duration / 60)
    const waits = [0, 0, 0, 1, bucket - 1, bucket, bucket + 1, duration - 1, duration, duration + 1, 60 * duration, 1e7]
    let now = start
    const compare = () => {
      for (const [i, window] of all.entries()) {
        window.advance(now)
        assert.deepStrictEqual(totals(window), totalsOf(within(outcomes, windows[i]!, now)))
      }
      const young = (age: number) => outcomes.filter(({ at }) => now - at < age).length
      const kept = all[0]!.success + all[0]!.failure
      assert.isAtMost(kept, young(duration), "late")
      assert.isAtLeast(kept, young(duration * 59 / 60), "more than a bucket early")
    }
    for (const { failed, read, slow, wait } of steps) {
      now += waits[wait]!
      if (read) compare()
      for (const window of all) window.record(now, failed, slow)
      outcomes.push({ at: now, failed, slow })
      compare()
    }
  }, { arbitrary: { runs: 120, size: 150 } })

  it.prop("no call is lost at a fraction of a millisecond", [
    Between(1, 100_000),
    Schema.Array(Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 50_000 }))).check(Schema.isMaxLength(50))
  ], ([duration, waits]) => {
    const { record, window } = one(span(duration))
    const times: Array<number> = []
    let now = 0
    for (const wait of waits) {
      now += wait
      record(now)
      times.push(now)
      // The time is a double: a call within a billionth of the edge may be on either side.
      const young = (age: number) => times.filter((at) => now - at < age).length
      assert.isAtMost(window.failure, young(duration * (1 + 1e-9)))
      assert.isAtLeast(window.failure, young(duration * 59 / 60 * (1 - 1e-9)))
    }
  }, { arbitrary: { runs: 200 } })
})

describe("a time window", () => {
  it("a call exactly as old as the window no longer counts; one a millisecond younger in a new bucket does (C2.20)", () => {
    for (const start of [0, 60, 1_234_560]) {
      const { at, record } = one(span(60))
      record(start)
      assert.strictEqual(at(start + 59), 1)
      assert.strictEqual(at(start + 60), 0)
    }
  })

  it("a time window drops old calls when it is read, without a new call (C2.21)", () => {
    const { at, record } = one(span(6000))
    record(0)
    record(3000)
    assert.deepStrictEqual([at(5999), at(6000), at(8999), at(9000)], [2, 1, 1, 0])
  })

  it("a time window has no old calls after an idle gap of any length (C2.22)", () => {
    for (const gap of [6000, 6001, 6100, 12_000, 5990 + 6000, 1e6, 1e9, 1e12]) {
      const { at, record, window } = one(span(6000))
      for (let now = 0; now < 6000; now += 50) record(now, now % 100 === 0, true)
      record(5999 + gap)
      assert.deepStrictEqual(totals(window), { success: 0, failure: 1, slow: 0 })
      assert.strictEqual(at(5999 + gap + 6000), 0)
    }
  })

  it("a time window has its exact length, even if it does not divide into buckets (C2.25)", () => {
    for (const duration of [1, 7, 59, 61, 100, 999, 1001, 30_000, 36_000_000]) {
      for (const start of [0, duration, 17 * duration, 1_700_000_000_000 - 1_700_000_000_000 % duration]) {
        const { at, record } = one(span(duration))
        record(start)
        assert.strictEqual(at(start + duration - 1), 1, `${duration} from ${start}`)
        assert.strictEqual(at(start + duration), 0, `${duration} from ${start}`)
      }
    }
  })

  it("a time window counts a call with an older time in the newest bucket", () => {
    const { at, record } = one(span(6000))
    record(5000)
    record(1000)
    assert.deepStrictEqual([at(10_999), at(11_000)], [2, 0])
  })

  it("a time window counts no slow calls if no rule reads them", () => {
    const window = windowsFor([span(1000)], false)!
    window.record(0, true, true)
    assert.deepStrictEqual(totals(window), { success: 0, failure: 1, slow: 0 })
    window.record(5000, false, true)
    assert.deepStrictEqual(totals(window), { success: 1, failure: 0, slow: 0 })
  })
})

describe("a count window", () => {
  it("a count window holds exactly the last calls, of any age (C2.26)", () => {
    const { record, window } = one(lastCalls(3))
    for (let i = 0; i < 3; i++) record(i, true, true)
    assert.deepStrictEqual(totals(window), { success: 0, failure: 3, slow: 3 })
    record(1e12, false)
    assert.deepStrictEqual(totals(window), { success: 1, failure: 2, slow: 2 })
    record(1e12, false)
    record(1e12, false)
    record(1e12, false)
    assert.deepStrictEqual(totals(window), { success: 3, failure: 0, slow: 0 })
  })

  it("a count window of a hundred thousand calls holds them all, and is read at once (C2.32)", () => {
    const { record, window } = one(lastCalls(100_000))
    for (let i = 0; i < 250_000; i++) record(0, i % 4 === 0)
    assert.deepStrictEqual(totals(window), { success: 75_000, failure: 25_000, slow: 0 })
  })
})

it("makeWindows returns windows in their order, and undefined for none", () => {
  assert.isUndefined(windowsFor([], true))
  const all = linked(windowsFor([lastCalls(1), lastCalls(2), span(1000)], false))
  for (let i = 0; i < 3; i++) for (const window of all) window.record(i, true, false)
  assert.deepStrictEqual(all.map(({ failure }) => failure), [1, 2, 3])
})
