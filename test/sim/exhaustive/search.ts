/**
 * Searches a small world breadth-first: from each state that is new, every next step. So what is found is as short as can be.
 *
 * The breakers run in fibers, whose states cannot be copied. So each step begins from the beginning, by the commands that lead to it.
 */
import { Stage } from "../../scenarios/stage.ts"
import type { Kind, Plan } from "./plans.ts"
import type { Promised } from "./promises.ts"
import { BEGINNING, hashOf, stateOf } from "./state.ts"

/** A choice of the search: a command of a scenario, and what it takes from the budget. */
interface Choice {
  readonly command: string
  readonly kind?: Kind | undefined
}

/** The longest that time passes in one step, in milliseconds, where nothing else happens. */
const STEP_MILLIS = 1000

/** A world that follows commands. */
export class Run {
  readonly stage = new Stage({ isSilent: true, startsAt: BEGINNING })
  readonly #plan: Plan
  readonly #promised: Promised | undefined
  #path = ""
  #left: Record<string, number>

  constructor(plan: Plan) {
    this.#plan = plan
    this.#left = { ...plan.budget }
    this.stage.perform(fleetOf(plan))
    for (const command of plan.before ?? []) this.stage.perform(command)
    this.#promised = plan.promise?.(this.stage)
  }

  /** What of the protocol is broken. */
  get broken(): string | undefined {
    return this.stage.broken[0] ?? this.#promised?.broken()
  }

  /** What is broken once the fleet is at rest. Nothing can be taken after that. */
  brokenAtRest(commands: ReadonlyArray<string>): string | undefined {
    for (const command of commands) this.stage.perform(command)
    return this.broken ?? this.#promised?.brokenAtRest?.()
  }

  take({ command, kind }: Choice): void {
    if (kind !== undefined) this.#left[kind]!--
    this.stage.perform(command)
    // What a storage made of two remembers cannot be read, so no two runs count as one.
    if (this.stage.fleet.servers.length > 1) this.#path += `${command}; `
  }

  state() {
    return stateOf(this.stage, this.#promised?.memory(), `${JSON.stringify(this.#left)} ${this.#path}`)
  }

  /** What may come next. */
  choices(): ReadonlyArray<Choice> {
    const { fleet, names } = this.stage
    const may = (kind: Kind): boolean => (this.#left[kind] ?? 0) > 0
    const of = (kind: Kind, ...commands: ReadonlyArray<string>): ReadonlyArray<Choice> =>
      may(kind) ? commands.map((command) => ({ command, kind })) : []
    const { copies } = fleet.server
    return [
      { command: `advance ${this.#untilNext()}ms` },
      ...of("leaps", `advance ${this.#plan.leapMillis}ms`),
      ...this.#mail(),
      ...fleet.processes.flatMap(({ calls, isAlive, machine }, i): ReadonlyArray<Choice> => {
        const name = names[i]!
        if (!isAlive) return []
        if (machine.isPaused) return [{ command: `resume ${name}` }]
        return [
          ...of("calls", ...(this.#plan.calls ?? ["succeed", "fail"]).map((does) => `call ${name} ${does}`)),
          ...of("waits", `call ${name} wait`),
          ...[...calls].some(({ end }) => end !== undefined)
            ? [{ command: `end ${name} succeed` }, { command: `end ${name} fail` }]
            : [],
          ...of("pauses", `pause ${name}`),
          ...of("crashes", `crash ${name}`),
          ...of("acts", ...(this.#plan.acts ?? []).map((act) => act.replace("%", name)))
        ]
      }),
      ...of("wipes", "wipe"),
      ...copies > 1 ? of("failovers", "failover") : [],
      ...of("clocks", "clock +1m", "clock -1m")
    ]
  }

  #untilNext(): number {
    const { nextAt, now } = this.stage.fleet.world
    return Math.ceil(Math.max(0.001, Math.min(STEP_MILLIS, nextAt - now)) * 1000) / 1000
  }

  #mail(): ReadonlyArray<Choice> {
    const letters = this.stage.fleet.options.mail?.letters ?? []
    const isFaulty = (this.#left["faults"] ?? 0) > 0
    return letters.flatMap(({ exchange, isHeld, to }, i): ReadonlyArray<Choice> => {
      const number = i + 1
      if (to?.isPaused === true || to?.isDead === true) return []
      // A reply that nobody waits for has no effect.
      if (to !== undefined && exchange?.isOver === true) return []
      // A message that is held for ever is lost.
      const faults = ["double", "hold"].map((fate): Choice => ({ command: `${fate} ${number}`, kind: "faults" }))
      return [{ command: `deliver ${number}` }, ...isFaulty && !isHeld ? faults : []]
    })
  }
}

export const fleetOf = ({ fleet }: Plan): string => `fleet ${fleet} messages=byHand`

interface Node {
  readonly parent: Node | undefined
  readonly choice: Choice | undefined
}

const pathOf = (node: Node): ReadonlyArray<Choice> =>
  node.choice === undefined ? [] : [...pathOf(node.parent!), node.choice]

export interface Found {
  /** The commands after those of the plan. */
  readonly commands: ReadonlyArray<string>
  readonly broken: string
}

export interface Searched {
  readonly states: number
  readonly steps: number
  /** Down to here all states were found. */
  readonly depth: number
  readonly found: Found | undefined
  /** How many pairs of states with one text were followed for a step, and the pairs that differed then. */
  readonly audited: number
  readonly unlike: ReadonlyArray<string>
}

export interface SearchOptions {
  readonly depth: number
  /** Stops after so many milliseconds. */
  readonly within?: number | undefined
  /** Every so many merges of states are audited. */
  readonly auditEvery?: number | undefined
  readonly progress?: ((depth: number, states: number) => void) | undefined
}

export const search = (
  plan: Plan,
  { auditEvery = Infinity, depth, progress, within = Infinity }: SearchOptions
): Searched => {
  const end = performance.now() + within
  const known = new Map<string, Node>()
  const unlike: Array<string> = []
  let [steps, merges, audited] = [0, 0, 0]
  const replay = (node: Node): Run => {
    const run = new Run(plan)
    for (const choice of pathOf(node)) run.take(choice)
    return run
  }
  const root: Node = { parent: undefined, choice: undefined }
  known.set(hashOf(replay(root).state()), root)
  let level: ReadonlyArray<Node> = [root]
  const result = (depth: number, found?: Found): Searched => ({
    states: known.size,
    steps,
    depth,
    found,
    audited,
    unlike
  })
  for (let at = 0; at < depth && level.length > 0; at++) {
    const next: Array<Node> = []
    for (const node of level) {
      if (performance.now() > end) return result(at)
      let run = replay(node)
      for (const [i, choice] of run.choices().entries()) {
        if (i > 0) run = replay(node)
        steps++
        run.take(choice)
        const child: Node = { parent: node, choice }
        if (run.broken !== undefined) return result(at, foundAt(child, run.broken))
        const hash = hashOf(run.state())
        const twin = known.get(hash)
        if (twin === undefined) {
          known.set(hash, child)
          next.push(child)
          if (plan.rests !== undefined) {
            const broken = run.brokenAtRest(plan.rests)
            if (broken !== undefined) return result(at, foundAt(child, broken, ...plan.rests))
          }
        } else if (++merges % auditEvery === 0) {
          audited++
          const difference = compare(plan, pathOf(twin), pathOf(child))
          if (difference !== undefined) unlike.push(difference)
        }
      }
    }
    level = next
    progress?.(at + 1, known.size)
  }
  return result(depth)
}

const foundAt = (node: Node, broken: string, ...more: ReadonlyArray<string>): Found => ({
  commands: [...pathOf(node).map(({ command }) => command), ...more],
  broken
})

/** How two paths to states with one text differ after one more step; `undefined` if no step tells them apart. */
const compare = (plan: Plan, a: ReadonlyArray<Choice>, b: ReadonlyArray<Choice>): string | undefined => {
  const runOf = (path: ReadonlyArray<Choice>): Run => {
    const run = new Run(plan)
    for (const choice of path) run.take(choice)
    return run
  }
  const [runA, runB] = [runOf(a), runOf(b)]
  const [orderA, orderB] = [runA.state().order, runB.state().order]
  const { names } = runA.stage
  const inB = (command: string): string =>
    command.replace(/ ([a-c])(?= |$)/, (_, name: string) => ` ${names[orderB[orderA.indexOf(names.indexOf(name))]!]}`)
  const told = (choices: ReadonlyArray<Choice>, rename: (command: string) => string) =>
    choices.map(({ command }) => rename(command)).sort().join("; ")
  const [choicesA, choicesB] = [told(runA.choices(), inB), told(runB.choices(), (command) => command)]
  const paths = `${a.map(({ command }) => command).join("; ")} | ${b.map(({ command }) => command).join("; ")}`
  if (choicesA !== choicesB) return `${paths}: ${choicesA} is not ${choicesB}`
  for (const { command, kind } of runA.choices()) {
    const [nextA, nextB] = [runOf(a), runOf(b)]
    nextA.take({ command, kind })
    nextB.take({ command: inB(command), kind })
    const [textA, textB] = [nextA.state().text, nextB.state().text]
    if (textA !== textB) return `${paths}, then ${command}: ${firstDifference(textA, textB)}`
  }
  return undefined
}

const firstDifference = (a: string, b: string): string => {
  let at = 0
  while (a[at] === b[at]) at++
  return `${a.slice(Math.max(0, at - 60), at + 40)} is not ${b.slice(Math.max(0, at - 60), at + 40)}`
}
