import { assert, describe, it } from "@effect/vitest"
import { type Measure, measures } from "./measures.ts"
import { rateWithin } from "./nodes.ts"
import { openedByBadNodes } from "./quiet.ts"
import { longestSilence, openedThoughIsolated, policy, slowed } from "./slow.ts"
import { firstMissed } from "./switch.ts"

describe("a quiet fleet", () => {
  it("what the busiest node has not said keeps the circuit closed, where three of ten are bad", () => {
    assert.strictEqual(openedByBadNodes(20), 0)
  })

  it("hears of each change by the bell, whichever storage of a fallback decides", () => {
    assert.isUndefined(firstMissed(30))
  })
})

describe("a fleet on a slow storage", () => {
  for (const reports of ["every interval", "quiet"] as const) {
    it(`reports more rarely until it is fast again, loses nothing, and still opens, with reports: "${reports}"`, () => {
      const { calls, counted, fast, fastAgain, openedAfter, slow } = slowed(1, reports)
      assert.isAtMost(slow, reports === "quiet" ? 1.2 * fast : 0.5 * fast)
      assert.closeTo(fastAgain, fast, 0.1)
      assert.strictEqual(counted, calls)
      // Half of the calls of the last 30 seconds have failed after 15.
      assert.isAtMost(openedAfter ?? Infinity, 15_000 + 7000)
    })
  }

  it("opens while the failures from before its instances isolated themselves are in the window", () => {
    for (const seed of [1, 2, 3, 4, 5]) assert.isAtMost(openedThoughIsolated(seed, 490), 9000)
  })
})

describe("between two reports on a storage that is as slow as it can be", () => {
  const SLOWEST_MILLIS = 490
  const loud = { ...policy, reports: "every interval" } as const

  it("four intervals pass at most, whatever chance says", () => {
    const longest = Math.max(...[1, 2, 3, 4, 5].map((seed) => longestSilence(seed, SLOWEST_MILLIS, loud)))
    assert.isAtMost(longest, 4000)
    assert.isAtLeast(longest, 3500)
  })

  it("a sixth of the shortest window passes at most", () => {
    assert.isAtMost(longestSilence(1, SLOWEST_MILLIS, { ...loud, trip: rateWithin(12_000) }), 2000)
  })
})

describe("a measure is in its bounds:", () => {
  for (const [name, { most, of, unit }] of Object.entries<Measure>(measures)) {
    it(`${name}, at most ${most} ${unit}`, () => {
      assert.isAtMost(of(), most)
    })
  }
})
