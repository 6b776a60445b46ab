import { assert, describe, it } from "@effect/vitest"
import { type Measure, measures } from "./measures.ts"
import { openedByBadNodes } from "./quiet.ts"
import { slowed } from "./slow.ts"
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
})

describe("a measure is in its bounds:", () => {
  for (const [name, { most, of, unit }] of Object.entries<Measure>(measures)) {
    it(`${name}, at most ${most} ${unit}`, () => {
      assert.isAtMost(of(), most)
    })
  }
})
