import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { addCounts, totals } from "../../src/core/Buckets.ts"
import { aged, noDelta } from "../../src/core/Delta.ts"
import type { Counted } from "../../src/internal/fleet/Fleet.ts"
import { Outbox } from "../../src/internal/fleet/Outbox.ts"

const counted = (failure: number): Counted => ({
  success: 0,
  failure,
  ignored: 0,
  timeout: 0,
  slow: 0,
  rejected: 0,
  shed: 0,
  streak: failure,
  hintUntil: 0,
  lastSuccessAt: NaN,
  lastFailureAt: NaN,
  lastSuccessMillis: undefined,
  lastFailureMillis: undefined
})

const Pauses = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 30_000 })))

describe("the outcomes that a storage has not acknowledged", () => {
  it.prop(
    "outcomes held back are counted over a short and a long window as if each had been reported at once (F10)",
    [Pauses.check(Schema.isMaxLength(200))],
    ([pauses]) => {
      const withins = [5000, 3_600_000]
      const outbox = new Outbox(withins, 0)
      let now = 0
      let failures = 0
      const ended: Array<number> = []
      for (const pause of pauses) {
        now += pause
        // Counts are collected when a call ends, so that the age of a bucket is that of its call.
        outbox.collect(counted(failures), now)
        failures++
        ended.push(now)
        outbox.collect(counted(failures), now)
      }
      outbox.freeze(0, () => 1, Number)
      const { at, delta } = outbox.pending ?? { at: now, delta: noDelta }
      assert.isAtMost(delta.buckets.length, 4 * 61)
      const [short, long] = totals(addCounts([], aged(delta, now - at).buckets, withins, now), withins, now)
      const within = (millis: number) => ended.filter((time) => time > now - millis).length
      // At most a bucket of each width leaves early, and thinning may make a call older by a bucket's width.
      assert.isAtMost(short!.failure, within(5000))
      assert.isAtLeast(short!.failure, within(3000))
      assert.isAtMost(long!.failure, within(3_600_000))
      assert.isAtLeast(long!.failure, within(3_600_000 - 2 * 60_000))
    }
  )

  it("calls that were shed are in a bucket of their time, and are no evidence of a newer generation", () => {
    const outbox = new Outbox([120_000], 0)
    outbox.collect({ ...counted(0), rejected: 7, shed: 5 }, 1000)
    assert.deepEqual(outbox.unacknowledged(1000)!.buckets, [{ age: 1000, success: 0, failure: 0, slow: 0, shed: 5 }])
    outbox.collect({ ...counted(1), rejected: 9, shed: 5 }, 2000)
    assert.deepEqual(outbox.unacknowledged(2000)!.buckets, [{ age: 2000, success: 0, failure: 1, slow: 0, shed: 5 }])
    outbox.lifetimeOnly({ ...counted(1), rejected: 10, shed: 6 }, 3000)
    assert.deepEqual(outbox.unacknowledged(3000)!.buckets, [])
    assert.equal(outbox.unacknowledged(3000)!.lifetime.rejected, 10)
  })
})
