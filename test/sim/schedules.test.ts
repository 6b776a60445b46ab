import { assert, describe, it } from "@effect/vitest"
import { explain } from "./explain.ts"

// `npm run test:sim` runs more of them.
const SCHEDULES = 1000
const AT_ONCE = 100

describe("random schedules", () => {
  for (let first = 1; first < SCHEDULES; first += AT_ONCE) {
    it(`a fleet keeps its invariants in the schedules ${first} to ${first + AT_ONCE - 1}`, () => {
      for (let seed = first; seed < first + AT_ONCE; seed++) {
        const explanation = explain(seed)
        if (explanation !== undefined) assert.fail(explanation)
      }
    })
  }
})
