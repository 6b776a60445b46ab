/** A counter-example as a scenario of `test/scenarios`: its commands, and the trace that they print. */
import { Stage } from "../../scenarios/stage.ts"
import type { Plan } from "./plans.ts"
import { fleetOf, type Found } from "./search.ts"

const inSteps = (steps: number): string => steps === 1 ? "1 step" : `${steps} steps`

export const scenarioOf = (plan: Plan, { broken, commands }: Found): string => {
  const stage = new Stage()
  const block = (commands: ReadonlyArray<string>): string => {
    for (const command of commands) stage.perform(command)
    return [...commands, "----", ...stage.tell()].join("\n")
  }
  const head = [
    `# ${broken.replace(/^\d+ ms: /, "")}`,
    `# Found by npm run check:exhaustive in the world "${plan.name}", ${inSteps(commands.length)} from its beginning.`,
    "# No run of fewer steps breaks anything there."
  ]
  return [
    head.join("\n"),
    block([fleetOf(plan), ...plan.before ?? []]),
    ...commands.map((command) => block([command]))
  ].join("\n\n")
}
