import { type Schedule, scheduleFrom } from "./schedule.ts"
import { shrink } from "./shrink.ts"
import { simulate } from "./simulate.ts"

/** The failure of a seed, its shrunk schedule and the command that replays it; `undefined` if all invariants hold. */
export const explain = (seed: number): string | undefined => {
  const schedule = scheduleFrom(seed)
  const failure = simulate(schedule)
  if (failure === undefined) return undefined
  const { steps, ...setting } = shrink(schedule, (smaller: Schedule) => simulate(smaller) !== undefined)
  return [
    `Seed ${seed} fails: ${failure.broken[0]}`,
    `Made smaller: ${simulate({ ...setting, steps })!.broken.join("\n  ")}`,
    JSON.stringify(setting),
    ...steps.map((step) => `  ${JSON.stringify(step)}`),
    `Replay: npm run test:sim -- --seed ${seed}`
  ].join("\n")
}
