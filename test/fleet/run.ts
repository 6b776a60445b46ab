/**
 * Runs a drill: eight processes under load share circuits on one server. Faults that follow from a seed hit the
 * processes, their upstream and the server. The report lists every broken promise.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { Breaker } from "../../src/index.ts"
import { Rng } from "../../src/testing/internal/Random.ts"
import { until } from "../support/machine.ts"
import { check, type Fault, lateness, type Sighting } from "./check.ts"
import { Fleet, type Process } from "./fleet.ts"
import { type Counts, type Entry, epochMillis, now } from "./log.ts"
import type { Server, Trouble } from "./server.ts"
import type { Usage } from "./worker.ts"

export interface Options {
  readonly start: () => Promise<Server>
  readonly seed: number
  /**
   * The duration of each of the two parts. The first has faults of the processes and the upstream, and short ones of
   * the server. The second has all faults of the server, too.
   */
  readonly seconds: number
  /** The processes from 0 to this are never killed, so that what they hold can be watched. By default none is spared. */
  readonly spared?: number | undefined
  /** The part of the usual load, so that the logs of a long drill fit into memory. */
  readonly share?: number | undefined
  readonly progress?: ((text: string) => void) | undefined
}

export interface Report {
  readonly broken: ReadonlyArray<string>
  readonly calls: ReadonlyArray<number>
  readonly faults: ReadonlyArray<string>
  /** Milliseconds from the last fault until all processes knew the stored generations. */
  readonly agreedAfter: number
  /** Milliseconds that each process was kept from running. */
  readonly late: ReadonlyArray<number>
  /** What the spared processes held without load: between the two parts, and at the end. */
  readonly usage: readonly [between: ReadonlyArray<Usage>, end: ReadonlyArray<Usage>]
}

const INTERVAL = 1000
const OPEN_FOR = 3000
const PROCESSES = 8
const QUIET_WITHIN = 12_000
/** A quiet circuit is reported after a third of its window, and at most a quarter of that more. */
const QUIET_MILLIS = QUIET_WITHIN / 3 * 1.25
/** Hours that the processes' wall clocks are ahead. */
const SKEWS = [0, 5, -7, 0, 0, 1000, 0, 0]

const policies: Readonly<Record<string, Breaker.Data>> = {
  any: {
    trip: { _tag: "ConsecutiveFailures", failures: 5 },
    evidence: "any",
    reports: "every interval",
    openFor: OPEN_FOR,
    halfOpen: { lease: 3000 }
  },
  pooled: {
    trip: {
      _tag: "FailureRate",
      threshold: 0.5,
      window: { _tag: "Within", duration: 10_000 },
      minimumCalls: 20
    },
    evidence: "pooled",
    reports: "every interval",
    openFor: OPEN_FOR,
    halfOpen: { probes: 2, successes: 3, lease: 3000 }
  },
  quiet: {
    trip: {
      _tag: "FailureRate",
      threshold: 0.5,
      window: { _tag: "Within", duration: QUIET_WITHIN },
      minimumCalls: 20
    },
    evidence: "pooled",
    reports: "quiet",
    openFor: OPEN_FOR,
    halfOpen: { probes: 2, successes: 3, lease: 3000 }
  },
  strict: {
    trip: { _tag: "ConsecutiveFailures", failures: 5 },
    evidence: "any",
    consistency: "strict",
    openFor: OPEN_FOR,
    halfOpen: { lease: 3000 }
  }
}
const CIRCUITS = Object.keys(policies)
/** Calls per second of each process, by circuit. */
const LOAD = { any: 60, pooled: 60, quiet: 60, strict: 5 }

class Drill {
  readonly faults: Array<Fault> = []
  readonly broken: Array<string> = []
  readonly sightings: Array<Sighting> = []
  readonly #options: Options
  readonly #rng: Rng
  readonly #fleet: Fleet
  readonly #server: Server

  constructor(options: Options, fleet: Fleet, server: Server) {
    this.#options = options
    this.#rng = new Rng(options.seed)
    this.#fleet = fleet
    this.#server = server
  }

  async #inflict(fault: Omit<Fault, "from" | "to">, inflict: () => Promise<unknown>): Promise<void> {
    this.#options.progress?.(fault.what)
    const from = now()
    await inflict()
    this.faults.push({ ...fault, from, to: now() })
  }

  #anyone(): Process {
    return this.#rng.pick(this.#fleet.running.filter(({ isPaused }) => !isPaused))
  }

  /** Waits until each process has called each circuit, and each circuit has opened. */
  async begin(): Promise<void> {
    for (const circuit of CIRCUITS) {
      await until(`all processes call ${circuit}`, async () => {
        const views = await Promise.all(this.#fleet.running.map((process) => process.request("look", { circuit })))
        return views.every(({ counts: { success } }) => success > 0)
      })
      this.#fleet.upstream.be(circuit, { failing: 1 })
      await until(`${circuit} opens`, async () => (await this.#server.stored(circuit)).generation > 0)
      this.#fleet.upstream.be(circuit, {})
    }
  }

  async enlist(hours: number): Promise<void> {
    const process = await this.#fleet.start(hours)
    await process.request("load", this.#usualLoad)
  }

  get #usualLoad(): Readonly<Record<string, number>> {
    const { share = 1 } = this.#options
    return Object.fromEntries(Object.entries(LOAD).map(([circuit, rate]) => [circuit, rate * share]))
  }

  /** What the spared processes hold while nothing is called. */
  async usage(): Promise<ReadonlyArray<Usage>> {
    await this.#load({})
    // Reports that are held back are sent, and answered.
    await sleep(QUIET_MILLIS + INTERVAL)
    const spared = this.#fleet.processes.slice(0, this.#options.spared ?? 0)
    const usage = await Promise.all(spared.map((process) => process.request("usage", {})))
    await this.#load(this.#usualLoad)
    return usage
  }

  // -----------------------------------------------------------------------------
  // faults
  // -----------------------------------------------------------------------------

  async #illness(): Promise<void> {
    const [service, failing, takes] = [
      this.#rng.pick(CIRCUITS),
      this.#rng.pick([1, 0.7, 0.1]),
      this.#rng.pick([1, 200])
    ]
    this.#options.progress?.(`${service} is ill`)
    this.#fleet.upstream.be(service, { failing, takes })
    await sleep(this.#rng.int(500, 4000))
    this.#fleet.upstream.be(service, {})
  }

  #murder(): Promise<void> {
    const { spared = 0 } = this.#options
    const process = this.#rng.pick(this.#fleet.running.filter(({ index, isPaused }) => !isPaused && index >= spared))
    const hours = this.#rng.pick(SKEWS)
    return this.#inflict({ what: `kill -9 of process ${process.index}`, process: process.index }, async () => {
      await process.kill()
      await this.enlist(hours)
    })
  }

  #pause(): Promise<void> {
    const process = this.#anyone()
    const millis = this.#rng.int(200, 4000)
    return this.#inflict(
      { what: `process ${process.index} stands still for ${millis} ms`, process: process.index },
      async () => {
        process.pause()
        await sleep(millis)
        process.resume()
      }
    )
  }

  #befall(trouble: (rng: Rng) => Trouble): Promise<void> {
    const { inflict, losesData, what } = trouble(this.#rng)
    return this.#inflict({ what, losesData }, inflict)
  }

  // -----------------------------------------------------------------------------
  // phases of the drill
  // -----------------------------------------------------------------------------

  /** Runs these faults one after the other, with a pause before each. Meanwhile the upstream fails again and again. */
  async #unrest(some: ReadonlyArray<() => Promise<void>>, least: number): Promise<void> {
    const end = now() + this.#options.seconds * 1000
    const illness = async () => {
      while (now() < end) {
        await sleep(this.#rng.int(0, 3000))
        await this.#illness()
      }
    }
    const trouble = async () => {
      // Runs each of the first `least` faults once, then random ones.
      for (let i = 0; now() < end || i < least; i++) {
        await sleep(this.#rng.int(200, 1500))
        await (i < least ? some[i]! : this.#rng.pick(some))()
      }
    }
    await Promise.all([illness(), trouble()])
    for (const circuit of CIRCUITS) this.#fleet.upstream.be(circuit, {})
  }

  troubleWithProcesses(): Promise<void> {
    const some = [() => this.#murder(), () => this.#pause(), () => this.#befall(this.#server.hiccup)]
    return this.#unrest(some, some.length)
  }

  troubleWithServer(): Promise<void> {
    const some = this.#server.troubles.map((trouble) => () => this.#befall(trouble))
    return this.#unrest([...some, () => this.#murder(), () => this.#pause()], some.length)
  }

  async #load(load: Readonly<Record<string, number>>): Promise<void> {
    await Promise.all(this.#fleet.running.map((process) => process.request("load", load)))
  }

  /**
   * Checks that the storage counts no outcome twice and misses none that it acknowledged, although processes were
   * killed.
   */
  async countUp(): Promise<void> {
    await this.#load({})
    for (const circuit of CIRCUITS) {
      const told = (await Promise.all(this.#fleet.running.map((process) => process.request("look", { circuit }))))
        .map(({ counts }) => counts)
      const gone = this.#fleet.processes.filter(({ isRunning }) => !isRunning).map((process) =>
        countsOf(process, circuit)
      )
      const least = sum([...told, ...gone.map(({ acknowledged }) => acknowledged)])
      const most = sum([...told, ...gone.map(({ made }) => made)])
      let stored: Counts = nothing
      await until(`what was acknowledged of ${circuit} is stored`, async () => {
        stored = await this.#server.stored(circuit)
        return isLess(least, stored)
      }).catch(() => {})
      if (!isLess(least, stored) || !isLess(stored, most)) {
        const text = [least, stored, most].map((counts) => JSON.stringify(counts))
        this.broken.push(`${text[1]} is stored of ${circuit}, which is to be between ${text[0]} and ${text[2]}`)
      }
    }
    await this.#load(this.#usualLoad)
  }

  /**
   * Waits until all processes know the stored generations, and records a sighting of each process that does not yet.
   * Returns the milliseconds that it waited.
   */
  async agree(): Promise<number> {
    const start = now()
    const since = new Map<string, Pick<Sighting, "stored" | "since">>()
    const look = async (circuit: string): Promise<ReadonlyArray<Sighting>> => {
      const { generation: stored } = await this.#server.stored(circuit)
      const known = since.get(circuit)
      const current = known?.stored === stored ? known : { stored, since: known === undefined ? start : now() }
      since.set(circuit, current)
      const processes = this.#fleet.running
      const at = now()
      const views = await Promise.all(processes.map((process) => process.request("look", { circuit })))
      // The stored generation changed while the processes were read, so their snapshots prove nothing.
      if ((await this.#server.stored(circuit)).generation !== stored) return []
      return views.flatMap(({ generation }, i) =>
        generation === stored ? [] : [{ process: processes[i]!.index, circuit, known: generation, at, ...current }]
      )
    }
    await until("all processes know what is stored", async () => {
      const seen: Array<Sighting> = []
      for (const circuit of CIRCUITS) seen.push(...await look(circuit))
      this.sightings.push(...seen)
      return seen.length === 0
    }).catch((error: Error) => this.broken.push(error.message))
    return now() - start
  }
}

const nothing: Counts = { success: 0, failure: 0, rejected: 0 }

const sum = (all: ReadonlyArray<Counts>): Counts =>
  all.reduce((a, b) => ({
    success: a.success + b.success,
    failure: a.failure + b.failure,
    rejected: a.rejected + b.rejected
  }), nothing)

const isLess = (a: Counts, b: Counts): boolean =>
  a.success <= b.success && a.failure <= b.failure && a.rejected <= b.rejected

/**
 * The counts of a killed process: `made` is the most that it may have counted, `acknowledged` the part that the storage
 * acknowledged.
 */
const countsOf = (process: Process, circuit: string): { readonly made: Counts; readonly acknowledged: Counts } => {
  const entries = process.read()
  const ends = entries.flatMap((entry) => entry.is === "call" && entry.circuit === circuit ? [entry.ended] : [])
  const count = (end: string) => ends.filter((ended) => ended === end).length
  const acknowledged = new Map<number, Counts>()
  for (const entry of entries) {
    if (entry.is !== "answered") continue
    const sent = entries.find((sent) => sent.is === "sent" && sent.id === entry.id)
    if (sent?.is !== "sent") continue
    for (const [i, { circuit: of, counts, sequence }] of sent.requests.entries()) {
      if (of === circuit && entry.seen[i] !== null && counts !== undefined) acknowledged.set(sequence!, counts)
    }
  }
  return {
    // One call of each outcome may have ended before its entry was written.
    made: sum([
      { success: count("ok"), failure: count("failed"), rejected: count("rejected") },
      { success: 1, failure: 1, rejected: 1 }
    ]),
    acknowledged: sum([...acknowledged.values()])
  }
}

export const runDrill = async (options: Options): Promise<Report> => {
  const server = await options.start()
  const fleet = await Fleet.of({ storage: server.storage, policies })
  const drill = new Drill(options, fleet, server)
  const epoch = epochMillis()
  let agreedAfter: number
  let usage: Report["usage"] = [[], []]
  let logs: ReadonlyArray<ReadonlyArray<Entry>>
  try {
    options.progress?.("the server runs")
    for (const hours of SKEWS.slice(0, PROCESSES)) await drill.enlist(hours)
    await drill.begin()
    options.progress?.("all processes run, and all circuits have opened")
    await drill.troubleWithProcesses()
    await drill.countUp()
    options.progress?.("counted up")
    const between = options.spared === undefined ? [] : await drill.usage()
    await drill.troubleWithServer()
    agreedAfter = await drill.agree()
    options.progress?.("all agree")
    if (options.spared !== undefined) usage = [between, await drill.usage()]
    logs = fleet.processes.map((process) => process.read())
  } finally {
    await fleet.stop()
    await server.stop()
  }
  const { broken, faults, sightings } = drill
  const run = {
    logs,
    faults,
    strict: ["strict"],
    quiet: { quiet: QUIET_MILLIS },
    interval: INTERVAL,
    epoch,
    openFor: OPEN_FOR,
    sightings
  }
  return {
    broken: [...broken, ...check(run)],
    calls: logs.map((entries) => entries.filter(({ is }) => is === "call").length),
    faults: faults.map(({ what }) => what),
    agreedAfter,
    late: logs.map((entries) => lateness(entries, 0, Infinity)),
    usage
  }
}
