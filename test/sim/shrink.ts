/** Shrinks a failing schedule: leaves out steps, then simplifies the rest, for as long as it still fails. */
import { perfect } from "../../src/testing/internal/Link.ts"
import type { Schedule, Step } from "./schedule.ts"

export const shrink = (schedule: Schedule, fails: (schedule: Schedule) => boolean): Schedule => {
  let smallest = schedule
  const attempt = (smaller: Schedule): boolean => {
    if (!fails(smaller)) return false
    smallest = smaller
    return true
  }
  const withSteps = (steps: ReadonlyArray<Step>): Schedule => ({ ...smallest, steps })
  for (let before = -1; before !== size(smallest);) {
    before = size(smallest)
    for (let chunk = Math.max(1, smallest.steps.length >> 1); chunk >= 1; chunk >>= 1) {
      for (let i = 0; i < smallest.steps.length;) {
        if (!attempt(withSteps(smallest.steps.toSpliced(i, chunk)))) i += chunk
      }
    }
    for (let i = 0; i < smallest.steps.length; i++) {
      for (const plainer of plainerThan(smallest.steps[i]!)) attempt(withSteps(smallest.steps.with(i, plainer)))
    }
    attempt({ ...smallest, quality: perfect })
    attempt({ ...smallest, pushes: false })
    attempt({ ...smallest, bells: false })
    if (smallest.processes > 1) attempt({ ...smallest, processes: smallest.processes - 1 })
  }
  return smallest
}

const size = ({ processes, steps }: Schedule): number => processes * 1e6 + JSON.stringify(steps).length

const plainerThan = (step: Step): ReadonlyArray<Step> => [
  ...(step.after > 0 ? [{ ...step, after: 0 }] : []),
  ...(step.do === "calls"
    ? [
      ...step.of.flatMap((_, i) => step.of.length > 1 ? [{ ...step, of: step.of.toSpliced(i, 1) }] : []),
      { ...step, of: step.of.map((behaviour) => ({ ...behaviour, takes: 0 })) }
    ].filter((plainer) => JSON.stringify(plainer) !== JSON.stringify(step))
    : [])
]
