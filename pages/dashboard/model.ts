/**
 * The circuits as the page knows them.
 *
 * Invariants: a circuit's samples are in the order of time and none is older than `KEPT_MILLIS`; times are the browser's, from when an
 * update arrived, because its clock may differ from the server's.
 */
import type { Output } from "../../src/cli/Output.ts"
import type { Here, LastChange, Status, StorageHealth, Update } from "../../src/dashboard/internal/Feed.ts"

const KEPT_MILLIS = 5 * 60_000

/** The worst first. */
export const STATUSES: ReadonlyArray<Status> = [
  "forced_open",
  "open",
  "half_open",
  "metrics_only",
  "disabled",
  "closed"
]

export const STATUS_NAMES: Readonly<Record<Status, string>> = {
  forced_open: "Forced open",
  open: "Open",
  half_open: "Half-open",
  metrics_only: "Metrics only",
  disabled: "Disabled",
  closed: "Closed"
}

export const statusOf = ({ override, state }: Output.Circuit): Status => override?.mode ?? state

/** The counts of a circuit at a moment. */
export interface Sample {
  readonly at: number
  readonly status: Status
  readonly success: number
  readonly failure: number
  readonly rejected: number
}

export interface Row {
  readonly circuit: Output.Circuit
  readonly status: Status
  /** When it was received: its times count from here. */
  readonly at: number
  readonly samples: ReadonlyArray<Sample>
}

/** Calls a second between the last two samples. */
export interface Rates {
  readonly success: number
  readonly failure: number
  readonly rejected: number
}

export const between = (from: Sample, to: Sample): Rates => {
  const seconds = Math.max((to.at - from.at) / 1000, 0.001)
  const of = (count: "success" | "failure" | "rejected") => Math.max(0, to[count] - from[count]) / seconds
  return { success: of("success"), failure: of("failure"), rejected: of("rejected") }
}

export const ratesOf = ({ samples }: Row): Rates => {
  const [from, to] = samples.slice(-2)
  return from === undefined || to === undefined ? { success: 0, failure: 0, rejected: 0 } : between(from, to)
}

/** Samples of circuits that do not change come no more, so an old one says nothing about now. */
const FRESH_MILLIS = 30_000

/** Whether a closed circuit refuses calls, because its policy sheds a share of them, it is at a limit, or it ramps up. */
export const isRefusing = ({ samples }: Row, now: number): boolean => {
  const [from, to] = samples.slice(-2)
  return from?.status === "closed" && to?.status === "closed" && to.rejected > from.rejected &&
    now - to.at < FRESH_MILLIS
}

const rank = new Map(STATUSES.map((status, index) => [status, index]))

const byUrgency = (one: Row, other: Row): number =>
  rank.get(one.status)! - rank.get(other.status)! || (one.circuit.circuit < other.circuit.circuit ? -1 : 1)

export class Model {
  readonly #rows = new Map<string, Row>()
  #sorted: ReadonlyArray<Row> | undefined
  latest: Pick<Update, "at" | "total" | "statuses" | "unreadable"> & { readonly here: ReadonlyArray<Here> } | undefined
  storage: StorageHealth | undefined
  /** The last changes of all circuits, newest first, their times by the storage's clock. */
  changes: ReadonlyArray<LastChange> = []
  /** By this browser's clock. */
  updatedAt = 0

  /** Takes an update in, and returns the circuits that are worse than they were. */
  update(update: Update, now: number): ReadonlyArray<Row> {
    const worse: Array<Row> = []
    if (update.reset) {
      const names = new Set(update.circuits.map(({ circuit }) => circuit))
      for (const name of this.#rows.keys()) if (!names.has(name)) this.#rows.delete(name)
    }
    for (const name of update.removed) this.#rows.delete(name)
    for (const circuit of update.circuits) {
      const before = this.#rows.get(circuit.circuit)
      const row = rowOf(circuit, before, now)
      this.#rows.set(circuit.circuit, row)
      if (before !== undefined && rank.get(row.status)! < rank.get(before.status)!) worse.push(row)
    }
    if (update.reset || update.circuits.length > 0 || update.removed.length > 0) this.#sorted = undefined
    this.latest = update
    this.storage = update.storage
    this.changes = update.changes ?? this.changes
    this.updatedAt = now
    return worse
  }

  get(circuit: string): Row | undefined {
    return this.#rows.get(circuit)
  }

  /** The worst first, then by name. */
  get rows(): ReadonlyArray<Row> {
    return this.#sorted ??= [...this.#rows.values()].sort(byUrgency)
  }
}

const rowOf = (circuit: Output.Circuit, before: Row | undefined, now: number): Row => {
  const { failure, rejected, success } = circuit.lifetime
  const status = statusOf(circuit)
  const kept = before?.samples.filter(({ at }) => at > now - KEPT_MILLIS) ?? []
  return { circuit, status, at: now, samples: [...kept, { at: now, status, success, failure, rejected }] }
}
