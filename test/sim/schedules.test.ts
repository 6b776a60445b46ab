import { assert, describe, it } from "@effect/vitest"
import { explain } from "./explain.ts"
import { type Schedule, scheduleFrom } from "./schedule.ts"

// `npm run test:sim` runs more of them.
const SCHEDULES = 1000
const AT_ONCE = 100

/** Fields that only some policies have, with the test for a schedule that has one. */
const rules: Readonly<Record<string, (schedule: Schedule) => boolean>> = {
  "a throttle": ({ circuits }) => circuits.some(({ policy }) => policy.throttle !== undefined),
  "a sample": ({ circuits }) => circuits.some(({ policy }) => policy.halfOpen?.sample !== undefined),
  "a ramp": ({ circuits }) => circuits.some(({ policy }) => policy.halfOpen?.ramp !== 0),
  "neverOpenMoreThan": ({ neverOpenMoreThan }) => neverOpenMoreThan !== undefined,
  "metricsOnly": ({ circuits }) => circuits.some(({ policy }) => policy.enforcement === "metricsOnly")
}

describe("random schedules", () => {
  for (const [rule, has] of Object.entries(rules)) {
    it(`one in ten has ${rule}, at least`, () => {
      const having = Array.from({ length: SCHEDULES }, (_, i) => scheduleFrom(i + 1)).filter(has)
      assert.isAtLeast(having.length, SCHEDULES / 10)
    })
  }

  for (let first = 1; first < SCHEDULES; first += AT_ONCE) {
    it(`a fleet keeps its invariants in the schedules ${first} to ${first + AT_ONCE - 1}`, () => {
      for (let seed = first; seed < first + AT_ONCE; seed++) {
        const explanation = explain(seed)
        if (explanation !== undefined) assert.fail(explanation)
      }
    })
  }
})
