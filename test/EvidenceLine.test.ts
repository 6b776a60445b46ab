import { assert, describe, it } from "@effect/vitest"
import { evidenceLine } from "../src/internal/EvidenceLine.ts"

describe("evidence in words", () => {
  it.each([
    [
      { by: "fleet", streak: 57, totals: [{ success: 61, failure: 61, slow: 0 }] },
      "the whole fleet: 57 failures in a row; 61 of 122 calls failed"
    ],
    [
      { by: "fleet", streak: 0, totals: [{ success: 1200, failure: 0, slow: 900, shed: 3 }] },
      "the whole fleet: 0 of 1,200 calls failed, 900 slow, 3 shed"
    ],
    [{ by: "fleet", streak: 1, totals: [] }, "the whole fleet: 1 failure in a row"],
    [{ by: "instance", instance: "a7" }, "instance a7 alone"],
    [{ by: "instance" }, "one instance"]
  ])("what a breaker writes: %j", (evidence, line) => assert.strictEqual(evidenceLine(evidence), line))

  it.each([
    [{ failures: 5 }, "failures 5"],
    [{ by: "fleet", streak: -1 }, "by fleet, streak -1"],
    [{ by: "fleet", totals: [{ success: 1 }] }, `by fleet, totals [{"success":1}]`],
    [{ by: "fleet", streak: 2, more: null }, "by fleet, streak 2, more null"],
    [
      { by: "fleet", totals: [{ success: 1, failure: 2, other: 3 }] },
      `by fleet, totals [{"success":1,"failure":2,"other":3}]`
    ],
    ["a text", "a text"],
    [[1, 2], "[1,2]"],
    [null, "null"],
    [undefined, ""],
    [{}, ""]
  ])(
    "nothing of what others write is left out: %j",
    (evidence, line) => assert.strictEqual(evidenceLine(evidence), line)
  )
})
