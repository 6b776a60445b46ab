import { assert, describe, it } from "@effect/vitest"
import { explain } from "./explain.ts"

// `npm run test:sim` runs more of them.
const SCHEDULES = 1000
const AT_ONCE = 100

describe("a fleet keeps its invariants, whatever happens to it:", () => {
  for (let first = 1; first < SCHEDULES; first += AT_ONCE) {
    it(`schedules ${first} to ${first + AT_ONCE - 1}`, () => {
      for (let seed = first; seed < first + AT_ONCE; seed++) {
        const explanation = explain(seed)
        if (explanation !== undefined) assert.fail(explanation)
      }
    })
  }
})
