/**
 * The circuits as all viewers of a dashboard see them together, read once for all.
 *
 * Invariants: `version` grows with each change, and an entry's version is that of its last change. So a viewer that remembers the
 * version of its last update needs no queue, however slow it is: what changed since is what has a greater version.
 */
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { changeOf, circuitOf } from "../../cli/internal/Output.ts"
import type { Output } from "../../cli/Output.ts"
import type { Entry, Watched } from "../../Operator.ts"
import type { HistoryEntry, StorageError } from "../../Storage/Storage.ts"
import type { LastChange, Status, StorageHealth, Update } from "./Feed.ts"

interface Known {
  readonly version: number
  readonly circuit: Output.Circuit
  /** When it was read, in Unix milliseconds. */
  readonly at: number
  readonly status: Status
  /** By what two readings of a circuit are compared: everything but the times that run. */
  readonly text: string
}

/** An error of the storage as one line. */
export const errorText = ({ cause, operation, reason }: StorageError): string =>
  `${operation}: ${reason}: ${cause instanceof Error ? cause.message : String(cause)}`

const statusOf = ({ override, state }: Output.Circuit): Status => override?.mode ?? state

const textOf = (circuit: Output.Circuit): string =>
  JSON.stringify({
    ...circuit,
    elapsed: null,
    remaining: null,
    retry_after: null,
    last_success_at: null,
    last_failure_at: null,
    last_opened_at: null,
    override: circuit.override && { ...circuit.override, remaining: null }
  })

/** The circuit with its times as they are at a later moment. */
const shifted = ({ at, circuit }: Known, now: number): Output.Circuit => {
  const since = Math.max(0, now - at)
  const left = (millis: number | null) => millis === null ? null : Math.max(0, millis - since)
  return {
    ...circuit,
    elapsed: circuit.elapsed === null ? null : circuit.elapsed + since,
    remaining: left(circuit.remaining),
    retry_after: Math.max(0, circuit.retry_after - since),
    override: circuit.override && { ...circuit.override, remaining: left(circuit.override.remaining) }
  }
}

/** More removals than this are told by sending everything anew. */
const MOST_REMOVED = 10_000

const MOST_CHANGES = 20
/** Circuits whose histories wait to be read. Where more have changed, those that changed last are kept. */
const MOST_UNREAD = 100

/** Whose last change is likely older comes first. The time of an override is not known, so it may be the newest. */
const byAge = (one: Output.Circuit, other: Output.Circuit): number => ageOf(other) - ageOf(one)

const ageOf = ({ elapsed, override }: Output.Circuit): number => override === null ? elapsed ?? 0 : 0

/** The circuits that one viewer has been sent. */
export class Viewer {
  version = -1
  readonly sent = new Set<string>()
}

export class Board {
  #version = 0
  /** Viewers of an earlier version are sent everything anew, because removals after it are forgotten. */
  #completeSince = 0
  readonly #known = new Map<string, Known>()
  readonly #removed = new Map<string, number>()
  readonly #unreadable = new Map<string, string>()
  /** In the order of their changes. */
  readonly #unread = new Set<string>()
  #changes: ReadonlyArray<LastChange> = []
  #changesVersion = 0
  #storage: StorageHealth | undefined
  readonly #backend: string

  constructor(backend: string) {
    this.#backend = backend
  }

  get version(): number {
    return this.#version
  }

  /** Takes in what a watch emitted at a time in Unix milliseconds. */
  take(watched: Watched, at: number): void {
    this.#version++
    if (watched._tag === "Unavailable") return this.#found(at, watched.error)
    this.#found(at)
    if (watched._tag === "Listed") {
      const listed = new Set(watched.entries.map(({ circuit }) => circuit))
      for (const name of this.#known.keys()) if (!listed.has(name)) this.#forget(name)
      for (const name of this.#unreadable.keys()) if (!listed.has(name)) this.#unreadable.delete(name)
    }
    const changed = watched.entries.flatMap((entry) => this.#read(entry, at) ?? [])
    this.historyUnread(changed.sort(byAge).map(({ circuit }) => circuit))
  }

  /** These circuits have changed, in this order, and their histories have not been read since. */
  historyUnread(circuits: ReadonlyArray<string>): void {
    for (const circuit of circuits) {
      this.#unread.delete(circuit)
      this.#unread.add(circuit)
    }
    for (const circuit of this.#unread) {
      if (this.#unread.size <= MOST_UNREAD) break
      this.#unread.delete(circuit)
    }
  }

  /** Some of the circuits whose histories are to be read, those that changed last. */
  takeUnread(most: number): ReadonlyArray<string> {
    const taken = [...this.#unread].slice(-most)
    for (const circuit of taken) this.#unread.delete(circuit)
    return taken
  }

  /** Takes in the history of a circuit, newest first. */
  remember(circuit: string, entries: ReadonlyArray<HistoryEntry>): void {
    const changes = entries.map((entry) => changeOf(circuit, entry))
    const latest = changes.map((change, i) => ({ ...change, overrideBefore: changes[i + 1]?.override ?? null }))
    this.#changes = [...latest, ...this.#changes.filter((change) => change.circuit !== circuit)]
      .sort((a, b) => a.at < b.at ? 1 : a.at > b.at ? -1 : b.generation - a.generation)
      .slice(0, MOST_CHANGES)
    this.#changesVersion = ++this.#version
  }

  /** Takes in whether the storage answered, and how long that took. */
  answered(read: Exit.Exit<unknown, StorageError>, at: number, latencyMillis: number): void {
    const error = Exit.findErrorOption(read)
    if (Option.isSome(error)) this.#version++
    this.#found(at, Option.getOrUndefined(error), latencyMillis)
  }

  #found(at: number, error?: StorageError, latencyMillis = this.#storage?.latencyMillis ?? null): void {
    const reachable = error === undefined
    this.#storage = {
      backend: this.#backend,
      reachable,
      since: this.#storage?.reachable === reachable ? this.#storage.since : new Date(at).toISOString(),
      latencyMillis,
      error: error === undefined ? null : errorText(error)
    }
  }

  #forget(name: string): void {
    this.#known.delete(name)
    if (this.#removed.size >= MOST_REMOVED) {
      this.#removed.clear()
      this.#completeSince = this.#version
    }
    this.#removed.set(name, this.#version)
  }

  /** Returns the circuit if it has changed. */
  #read({ circuit: name, result }: Entry, at: number): Output.Circuit | undefined {
    if (Result.isFailure(result)) {
      this.#unreadable.set(name, errorText(result.failure))
      return undefined
    }
    this.#unreadable.delete(name)
    const circuit = circuitOf({ circuit: name, snapshot: result.success }, at)
    const text = textOf(circuit)
    const before = this.#known.get(name)
    const version = before?.text === text ? before.version : this.#version
    this.#known.set(name, { version, circuit, at, status: statusOf(circuit), text })
    this.#removed.delete(name)
    return circuit.generation === (before?.circuit.generation ?? 0) ? undefined : circuit
  }

  /**
   * The update of a viewer: the circuits that have changed since the last one. Circuits that are closed are left out beyond
   * `limit`, and so that they do not replace each other, those that were sent once stay.
   */
  updateFor(viewer: Viewer, { at, here, limit }: Pick<Update, "here"> & { at: number; limit: number }): Update {
    const reset = viewer.version < this.#completeSince
    if (reset) viewer.sent.clear()
    const statuses = { forced_open: 0, open: 0, half_open: 0, metrics_only: 0, disabled: 0, closed: 0 }
    const changed: Array<Output.Circuit> = []
    const send = (name: string, known: Known) => {
      if (known.version <= viewer.version && viewer.sent.has(name)) return
      viewer.sent.add(name)
      changed.push(shifted(known, at))
    }
    for (const [name, known] of this.#known) {
      statuses[known.status]++
      if (known.status !== "closed" || viewer.sent.has(name)) send(name, known)
    }
    for (const [name, known] of this.#known) {
      if (viewer.sent.size >= limit) break
      if (known.status === "closed" && !viewer.sent.has(name)) send(name, known)
    }
    const changes = this.#changesVersion > viewer.version ? this.#changes : null
    const removed = [...this.#removed].filter(([name, version]) => version > viewer.version && viewer.sent.delete(name))
    viewer.version = this.#version
    return {
      at: new Date(at).toISOString(),
      reset,
      total: this.#known.size,
      statuses,
      circuits: changed,
      removed: removed.map(([name]) => name),
      changes,
      unreadable: [...this.#unreadable].slice(0, 100).map(([circuit, reason]) => ({ circuit, reason })),
      here,
      storage: this.#storage!
    }
  }
}
