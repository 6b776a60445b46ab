import { assert, describe, it } from "@effect/vitest"
import { openedByBadNodes } from "./quiet.ts"

describe("a quiet fleet", () => {
  it("what the busiest node has not said keeps the circuit closed, where three of ten are bad", () => {
    assert.strictEqual(openedByBadNodes(20), 0)
  })
})
