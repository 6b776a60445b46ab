import { assert, describe, it } from "@effect/vitest"
import { openedByBadNodes } from "./quiet.ts"
import { firstMissed } from "./switch.ts"

describe("a quiet fleet", () => {
  it("what the busiest node has not said keeps the circuit closed, where three of ten are bad", () => {
    assert.strictEqual(openedByBadNodes(20), 0)
  })

  it("hears of each change by the bell, whichever storage of a fallback decides", () => {
    assert.isUndefined(firstMissed(30))
  })
})
