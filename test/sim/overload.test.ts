import { assert, describe, it } from "@effect/vitest"
import { brokenByOverload } from "./overload.ts"

describe("a fleet that throttles", () => {
  it("lets through k times what is accepted, sheds for a window after a recovery, and only where calls fail", () => {
    for (const seed of [1, 2, 3]) assert.deepStrictEqual(brokenByOverload(seed), [], `seed ${seed}`)
  }, 120_000)
})
