/**
 * The state of a simulated fleet as text. Two states have the same text if they differ only in what has no effect on what happens
 * next. Needs `expose.ts`.
 *
 * - Times are told as how long ago they were, or how far off they are; what is older than `OLD_MILLIS` is old. So a state that comes
 *   back later is the same.
 * - Generations, and the stamps of events, are told by their order.
 * - Processes are alike: a state and its mirror image have the same text.
 * - Fibers are left out. What they wait for is told: timers, messages, and the fields that they set.
 * - What the invariants remember of generations that nothing else mentions is left out.
 *
 * `search.ts` audits this: from two states with one text, the same steps must lead to states with one text.
 */
import { hash } from "node:crypto"
import type { Process } from "../../../src/testing/internal/Fleet.ts"
import type { Stage } from "../../scenarios/stage.ts"

/** The world begins here, so that times by different clocks, durations and counts are told apart by their size. */
export const BEGINNING = 1_200_000_000

/** No simulation lasts longer. */
const LONGEST = 500_000

/** Beyond all bounds of the protocol, and of the worlds' policies, but the idle time and the spans of rates. */
const OLD_MILLIS = 20_000

/** The name of a private field, as `expose.ts` writes it. */
const exposed = (name: string): string => `$private_${name}`

/** Fields that never change here, that say nothing about the future, or that lead back. */
const SILENT = new Set([
  ..."batches broken clock context fingerprint hub inForce keptErrors local log machine meter plan policy shared".split(
    " "
  ),
  ..."storage tally ticker timesOpened to usedAtSecond withins".split(" "),
  ..."connection endedAt fingerprint fleet local logged loggedOwnAt membership random wallAheadMillis withins".split(
    " "
  )
    .map(exposed)
])

/** Fields with stamps of events. */
const STAMPS = new Set(["arrived", "sent"])

/** Private fields, as `expose.ts` has them. */
// oxlint-disable-next-line typescript/no-explicit-any
type Exposed = any

/** Tells values with marks where names follow later: `@0@` a process, `<…>` a generation, `~…~` a stamp. */
class Teller {
  readonly #now: { readonly world: number; readonly server: number; readonly monotonic: ReadonlyArray<number> }
  readonly #instances: ReadonlyMap<string, number>
  #seen = new Map<object, number>()
  #of = 0

  constructor({ fleet }: Stage, instances: ReadonlyMap<string, number>) {
    const { processes, server, world } = fleet
    this.#now = {
      world: world.now,
      server: (server as Exposed).$private_offset + world.now,
      monotonic: processes.map(({ machine }) => Number(machine.clock.monotonicTimeNanosUnsafe()) / 1e6)
    }
    this.#instances = instances
  }

  /** `of`: the process whose monotonic clock is meant. */
  begin(of: number): this {
    this.#seen = new Map()
    this.#of = of
    return this
  }

  tell(value: unknown): string {
    switch (typeof value) {
      case "number":
        return this.#number(value)
      case "string":
        return this.string(value)
      case "object":
        return value === null ? "null" : this.#object(value)
      case "function":
        return "f"
      default:
        return String(value)
    }
  }

  #number(value: number): string {
    // The most are counts and durations.
    if (value < LONGEST || value === Infinity || value !== value) return String(rounded(value))
    if (value >= 1e15) return `<${value}>`
    const { monotonic, server, world } = this.#now
    if (Math.abs(value - server) < LONGEST) return `s${ago(value - server)}`
    if (Math.abs(value - world) < LONGEST) return `w${ago(value - world)}`
    if (Math.abs(value - monotonic[this.#of]!) < LONGEST) return `m${ago(value - monotonic[this.#of]!)}`
    return String(value)
  }

  string(value: string): string {
    const process = this.#instances.get(value)
    return process === undefined ? value : `@${process}@`
  }

  #object(value: object): string {
    if (isProcess(value)) return `@${value.index}@`
    const known = this.#seen.get(value)
    if (known !== undefined) return `^${known}`
    this.#seen.set(value, this.#seen.size)
    if (Array.isArray(value)) return `[${value.map((item) => this.tell(item)).join()}]`
    if (value instanceof Map) {
      return `{${[...value].map(([key, item]) => `${this.tell(key)}:${this.tell(item)}`).join()}}`
    }
    if (value instanceof Set) return `(${[...value].map((item) => this.tell(item)).join()})`
    if (value instanceof Uint32Array) return value.join()
    if ("~effect/Exit" in value) {
      const exit = value as { readonly value?: unknown; readonly cause?: unknown }
      // How long a call was told to wait is said to its caller, and has no effect here.
      const told = String(exit.cause).replaceAll(/ \(retry after [^)]*\)/g, "")
      return "value" in exit ? `ok ${this.tell(exit.value)}` : `error ${told}`
    }
    if (isOpaque(value)) return "o"
    let told = "{"
    for (const key in value) {
      const item = (value as Readonly<Record<string, unknown>>)[key]
      if (typeof item === "function" || item === undefined || SILENT.has(key)) continue
      told += `${key}:${STAMPS.has(key) && typeof item === "number" ? `~${item}~` : this.tell(item)},`
    }
    return `${told}}`
  }
}

/** The server's clock never reads the same twice, which makes times differ by microseconds. */
const rounded = (millis: number): number => Math.round(millis * 10) / 10

const ago = (millis: number): string => millis < -OLD_MILLIS ? "old" : String(rounded(millis))

const isProcess = (value: object): value is Process => "machine" in value && "breakers" in value

const isOpaque = (value: object): boolean =>
  "~effect/Effect" in value || "~effect/Fiber" in value || value instanceof Error

const circuitsOf = ({ registry }: Process): ReadonlyArray<Exposed> =>
  [...(registry as Exposed).$private_entries].flatMap(({ made }: Exposed) => [...made.circuits.all()])

const instancesOf = ({ fleet }: Stage): ReadonlyMap<string, number> =>
  new Map(
    fleet.processes.flatMap((process) =>
      circuitsOf(process).flatMap(({ fleet }) =>
        fleet === undefined ? [] : [[fleet.membership.instance, process.index] as const]
      )
    )
  )

const tellProcess = (teller: Teller, process: Process): string => {
  const { calls, isStopping, link, machine, startedAt } = process
  const { draw, isDead, isPaused, isPunctual, resumedAt, timers, wokeAt } = machine
  if (isDead) return "dead"
  const waiting = (machine as Exposed).$private_waiting.length
  const circuits = circuitsOf(process)
  // These lead back to the circuits, and are left out there.
  const shared = circuits[0].fleet?.membership.connection
  return teller.begin(process.index).tell([
    circuits,
    shared,
    [...timers].map(({ due }) => due).sort((a, b) => a - b),
    [...calls],
    [draw, isPaused, isPunctual, isStopping, resumedAt, wokeAt, link.hurtAt, startedAt, waiting],
    tellKeys(circuits, machine)
  ])
}

/** How many keys of a keyed breaker are open, which is counted once in each second of its clock. */
const tellKeys = (circuits: ReadonlyArray<Exposed>, { clock }: Process["machine"]): unknown => {
  const { $private_countedAtSecond, $private_open, $private_recent, $private_share } = circuits[0].shared.openKeys
  if ($private_share === 1) return undefined
  const now = Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const second = Math.floor(now / 1000)
  const used = circuits.map(({ usedAtSecond }) => second - usedAtSecond)
  return [now % 1000, second === $private_countedAtSecond, $private_open, $private_recent, used]
}

/** Whose timers are due in which order. */
const tellTimers = ({ fleet: { processes } }: Stage): string =>
  processes.flatMap(({ index, machine: { timers } }) => [...timers].map(({ due, order }) => ({ due, index, order })))
    .sort((a, b) => a.due - b.due || a.order - b.order)
    .map(({ index }) => `@${index}@`).join("")

/** The documents, what is under way, and the copy that a failover would bring back. */
const tellServer = (teller: Teller, { fleet: { options: { mail }, server } }: Stage): string => {
  const copies: ReadonlyArray<Exposed> = (server as Exposed).$private_copies
  return teller.begin(0).tell([
    [...server.documents].map(([name, { record, rungAt }]) => [name, record, rungAt]),
    [...copies.at(-2)?.documents ?? []].map(([name, { record }]) => [name, record]),
    server.losses > 0,
    mail?.letters.map(({ exchange, isHeld, process, says, what }) => [`@${process}@`, exchange, isHeld, says, what])
  ])
}

/** A line for each thing that the invariants and the world's promise remember. Keys begin with a process, and some name a generation. */
const tellInvariants = (
  teller: Teller,
  stage: Stage,
  promised: unknown,
  known: (generation: string) => boolean
): ReadonlyArray<string> => {
  const isKnown = (key: unknown): boolean => {
    const [generation] = /\b\d{16}\b/.exec(String(key)) ?? []
    return generation === undefined || known(generation)
  }
  const keyOf = (key: unknown): string =>
    typeof key === "string"
      ? key.replace(/^\d+(?= |$)/, "@$&@").replaceAll(/\b\d{16}\b/g, "<$&>").replace(/[0-9a-z]{25,}/, (id) =>
        teller.string(id))
      : teller.tell(key)
  const lines: Array<string> = []
  const add = (field: string, value: unknown): void => {
    if (value instanceof Map) {
      for (const [key, item] of value) if (isKnown(key)) add(`${field} ${keyOf(key)}`, item)
    } else if (value instanceof Set) {
      for (const key of value) if (isKnown(key)) lines.push(`${field} ${keyOf(key)}`)
    } else lines.push(`${field} ${teller.tell(value)}`)
  }
  teller.begin(0)
  for (const [field, value] of Object.entries(stage.invariants ?? {})) if (!SILENT.has(field)) add(field, value)
  add("promised", promised)
  return lines
}

const ranksOf = (numbers: Iterable<string>): ReadonlyMap<string, number> =>
  new Map([...new Set(numbers)].sort((a, b) => Number(a) - Number(b)).map((number, i) => [number, i]))

const GENERATION = /<(\d+)>/g
const STAMP = /~(\d+)~/g

export interface State {
  readonly text: string
  /** The processes in the order in which the text has them. */
  readonly order: ReadonlyArray<number>
}

/** `promised`: what a promise of the world remembers. `more`: what else the future depends on. */
export const stateOf = (stage: Stage, promised: unknown, more: string): State => {
  const teller = new Teller(stage, instancesOf(stage))
  const each = stage.fleet.processes.map((process) => tellProcess(teller, process))
  const server = tellServer(teller, stage)
  const timers = tellTimers(stage)
  const system = [...each, server].join("\n")
  const generations = ranksOf(system.matchAll(GENERATION).map(([, generation]) => generation!))
  const memory = tellInvariants(teller, stage, promised, (generation) => generations.has(generation)).join("\n")
  const stamps = ranksOf(`${system}${memory}`.matchAll(STAMP).map(([, stamp]) => stamp!))
  const ranked = (text: string): string =>
    text.replaceAll(GENERATION, (_, generation) => `<g${generations.get(generation)}>`)
      .replaceAll(STAMP, (_, stamp) => `~${stamps.get(stamp)}~`)
  // In an order of the processes in which their names have no part.
  const looks = each.map((text, self) =>
    ranked(text).replaceAll(/@(\d)@/g, (_, of) => Number(of) === self ? "@self" : "@other")
  )
  const order = looks.map((_, i) => i).sort((a, b) => looks[a]! < looks[b]! ? -1 : looks[a]! > looks[b]! ? 1 : 0)
  const named = (text: string): string => ranked(text).replaceAll(/@(\d)@/g, (_, of) => `@${order.indexOf(Number(of))}`)
  const told = [...order.map((process) => named(each[process]!)), named(server), named(timers)]
  return { text: [...told, ...named(memory).split("\n").sort(), more].join("\n"), order }
}

export const hashOf = ({ text }: State): string => hash("sha1", text, "base64").slice(0, 16)
