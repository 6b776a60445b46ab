/**
 * The transitions of `change`: trips, operators' acts, and putting back a record that a storage has lost. Each is a
 * compare-and-set on the generation; the losers adopt the winner's from the snapshot they get back.
 */
import {
  acknowledged,
  type Author,
  changed,
  type CircuitRecord,
  created,
  failedProbes,
  isRepeat,
  isWritable,
  type LeaseName,
  nextGeneration,
  opened,
  type Opening,
  overrideAt,
  type RecordLifetime,
  type RecordOverride,
  type RecordState,
  type Snapshot,
  type SnapshotOverride,
  unexpired,
  type Why,
  withLastCalls,
  withoutEvidence
} from "./Record.ts"
import type { StorageMillis } from "./Time.ts"

/**
 * Precondition `at(generation)`: an instance found that the evidence trips the circuit. The trip is refused if the
 * generation has changed. It is also refused if the snapshot that it was decided on is older than `maxAge` (two
 * intervals, at least 2 seconds) by the storage's clock, because an instance that was paused, or whose request was
 * delayed, must not trip on old evidence.
 *
 * It is refused, too, unless the circuit is Closed: another state of the same generation has nothing to trip. Without
 * `opening` it is also refused unless metrics-only is in force.
 */
export interface Trip extends Author {
  readonly _tag: "Trip"
  readonly generation: number
  readonly asOf: StorageMillis
  readonly maxAge: number
  /** Absent in metrics-only: then the trip is a change from Closed to Closed that begins a new window. */
  readonly opening?: Opening | undefined
}

/**
 * Precondition `below(generation)`: an instance knows a newer record than the storage, which has lost it, and puts it
 * back unchanged, under the generation that it had.
 */
export interface PutBack {
  readonly _tag: "PutBack"
  /** The last snapshot that the storage confirmed. */
  readonly snapshot: Snapshot
  /**
   * The time since then, by the holder's monotonic clock. A snapshot older than the idle time is not put back, because
   * the record may have expired.
   */
  readonly age: number
  /** The leases that the holder itself has, with their remaining times. */
  readonly leases: ReadonlyArray<LeaseName & { readonly remaining: number }>
  /**
   * Set when the snapshot is known to be the circuit's current state, as when a copy is brought up to date with the
   * storage that decides. Then an Open record, too, gives way to a Closed snapshot.
   */
  readonly certain?: boolean | undefined
}

/**
 * Precondition `always`: an operator's act, whatever the state. `id` is random, one for each operation, so that it
 * takes effect once, however often it is sent. `known` is the newest generation that the author knows.
 */
export interface Operation {
  readonly _tag: "Operation"
  readonly id: string
  readonly known: number
  /** Set to act only on a circuit that has a record, so that a misspelt name leaves none behind. */
  readonly existing?: boolean | undefined
  /** The cause, for the history. An import brings the record's own cause; an override leaves the record's as it was. */
  readonly why: Why
  readonly to: OperationTo
}

/** An operator's operation on a circuit. */
export type OperationTo =
  /**
   * Puts an override on top of the state, for `remaining` or until it is cleared. Leases and evidence are lost, nothing
   * else.
   */
  | ({ readonly _tag: "Override" } & SnapshotOverride)
  | { readonly _tag: "ClearOverride" }
  /** Closes the circuit and forgets everything but the lifetime counts. An override stays. */
  | { readonly _tag: "Reset" }
  /** Makes the circuit half-open at once. */
  | { readonly _tag: "HalfOpen" }
  /** Replaces the record with a Closed one, which expires once it is idle. */
  | { readonly _tag: "Remove" }
  /** Takes over an exported snapshot and its cause: open for the remaining time, half-open without leases. */
  | { readonly _tag: "Import"; readonly snapshot: Snapshot }

/** A change that a storage commits in one step, or refuses. */
export type Change = Trip | PutBack | Operation

/** The reason of a change, as the history keeps it. */
export const historyWhy = (change: Change): Why =>
  change._tag === "PutBack"
    ? { reason: "put back after a loss of data", evidence: change.snapshot.why }
    : change.why

/** Why an operation is refused: the `cause` of the `Denied` that it fails with. */
export const REFUSED_OPERATION =
  "a newer version of this library owns the circuit, or wrote the snapshot to import: update this process"

/** Why an operation that is set to `existing` is refused. */
export const NO_SUCH_CIRCUIT = "nobody uses a circuit of this name: check the name, or say that it is to be created"

/**
 * Makes a change or refuses it (`committed`). A refused author finds the winner's generation in the snapshot of the
 * record. When the record's generation differs from before, there is a change to announce and a row of history to
 * write. That can happen without a commit, too: see `putBack`.
 */
export const change = (
  stored: CircuitRecord | undefined,
  input: Change,
  now: StorageMillis,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly committed: boolean } => {
  const record = unexpired(stored, idleTimeToLive, now)
  const refused = { record: stored, committed: false }
  if (!isWritable(record)) return refused
  switch (input._tag) {
    case "Trip": {
      const stale = now - input.asOf > input.maxAge
      if (stale || (record?.generation ?? 0) !== input.generation) return refused
      if (!mayTrip(record ?? created(now), input, now)) return refused
      return { record: trip(record ?? created(now), input, now), committed: true }
    }
    case "PutBack": {
      const below = (record?.generation ?? 0) < input.snapshot.generation
      if (!below || input.age > idleTimeToLive || !isWritable(input.snapshot)) return refused
      return putBack(record ?? created(now), input, now)
    }
    case "Operation": {
      const message = { kind: "operation", instance: input.id, sequence: 0 } as const
      if (isRepeat(record, message, now, idleTimeToLive)) return { record: stored, committed: true }
      if (input.existing === true && record === undefined) return refused
      if (input.to._tag === "Import" && !isWritable(input.to.snapshot)) return refused
      const operated = operate(record ?? created(now), input, now)
      return { record: acknowledged(operated, message, now, idleTimeToLive), committed: true }
    }
  }
}

/** Only a Closed circuit trips, and only metrics-only lets it trip without opening. */
const mayTrip = (record: CircuitRecord, { opening }: Trip, now: StorageMillis): boolean =>
  record.state._tag === "Closed" && (opening !== undefined || overrideAt(record, now)?.kind === "MetricsOnly")

const trip = (record: CircuitRecord, input: Trip, now: StorageMillis): CircuitRecord => {
  const generation = nextGeneration(record, input.generation, now)
  return input.opening === undefined
    ? changed(record, generation, { _tag: "Closed" }, input, now)
    : opened(record, generation, input.opening, input, now)
}

const putBack = (
  record: CircuitRecord,
  { age, certain = false, leases, snapshot }: PutBack,
  now: StorageMillis
): { readonly record: CircuitRecord; readonly committed: boolean } => {
  if (!certain && snapshot.state._tag === "Closed" && record.state._tag === "Open" && now < record.state.until) {
    // Which of the two is right cannot be known. The circuit stays open, because a wrongly open one heals itself. The
    // override is the snapshot's: it is the newer one, and an operator's act must not be undone.
    const generation = nextGeneration(record, snapshot.generation, now)
    const override = overrideFrom(snapshot.override, age, now)
    return { record: { ...withoutEvidence(record), generation, override, usedAt: now }, committed: false }
  }
  const restored = restore(record, snapshot.generation, snapshot, age, now)
  if (restored.state._tag !== "HalfOpen") return { record: restored, committed: true }
  const held = leases.map(({ instance, remaining, sequence }) => ({ instance, sequence, until: now + remaining }))
  return { record: { ...restored, state: { ...restored.state, leases: held } }, committed: true }
}

const operate = (record: CircuitRecord, { known, to, why }: Operation, now: StorageMillis): CircuitRecord => {
  const generation = nextGeneration(record, known, now)
  switch (to._tag) {
    case "Override":
    case "ClearOverride": {
      const { state } = record
      return {
        ...withoutEvidence(record),
        generation,
        // A lease belongs to its generation: in the new one it could be neither settled nor counted.
        state: state._tag === "HalfOpen" ? { ...state, leases: [] } : state,
        override: to._tag === "Override" ? overrideFrom(to, 0, now) : undefined
      }
    }
    case "Reset":
      return {
        ...changed(record, generation, { _tag: "Closed" }, { why }, now),
        changedAt: now,
        openings: 0,
        openFor: 0
      }
    case "HalfOpen":
      return changed(record, generation, { _tag: "HalfOpen", leases: [], successes: 0 }, { why }, now)
    case "Remove":
      return { ...created(now), generation, changedAt: now, why, seen: record.seen }
    case "Import":
      return restore(record, generation, to.snapshot, 0, now)
  }
}

/**
 * The record as the snapshot showed it `age` ago, with its times running on. Lifetime counts never get smaller by it.
 */
const restore = (
  record: CircuitRecord,
  generation: number,
  snapshot: Snapshot,
  age: number,
  now: StorageMillis
): CircuitRecord => ({
  ...withoutEvidence(record),
  generation,
  state: stateFrom(snapshot, age, now),
  changedAt: snapshot.elapsed === undefined ? undefined : now - age - snapshot.elapsed,
  openings: snapshot.openings,
  openFor: snapshot.openFor,
  override: overrideFrom(snapshot.override, age, now),
  hintUntil: now + snapshot.hint - age,
  why: snapshot.why,
  fingerprint: snapshot.fingerprint,
  lifetime: restoreLifetime(record.lifetime, snapshot.lifetime, age, now),
  usedAt: now
})

const stateFrom = ({ state }: Snapshot, age: number, now: StorageMillis): RecordState => {
  switch (state._tag) {
    case "Closed":
      return { _tag: "Closed" }
    case "Open":
      return { _tag: "Open", until: now + state.remaining - age }
    case "HalfOpen":
      return {
        _tag: "HalfOpen",
        leases: [],
        successes: state.successes,
        ...failedProbes(state.failures),
        ...(state.probesIn === undefined ? {} : { probesFrom: now + state.probesIn - age })
      }
  }
}

const overrideFrom = (
  override: SnapshotOverride | undefined,
  age: number,
  now: StorageMillis
): RecordOverride | undefined => {
  if (override === undefined) return undefined
  const { actor, kind, reason, remaining } = override
  return { kind, reason, actor, until: remaining === undefined ? undefined : now + remaining - age }
}

/**
 * Both sides have counted some of the same outcomes, and how many is not known. The larger count never counts an
 * outcome twice, however often the same snapshot is put back.
 */
const restoreLifetime = (
  known: RecordLifetime,
  { lastOpenedAge, ...restored }: Snapshot["lifetime"],
  age: number,
  now: StorageMillis
): RecordLifetime => {
  const timeOf = (ago: number): number => now - age - ago
  return {
    ...withLastCalls(known, restored, timeOf),
    success: Math.max(known.success, restored.success),
    failure: Math.max(known.failure, restored.failure),
    ignored: Math.max(known.ignored, restored.ignored),
    timeout: Math.max(known.timeout, restored.timeout),
    slow: Math.max(known.slow, restored.slow),
    rejected: Math.max(known.rejected, restored.rejected),
    opened: Math.max(known.opened, restored.opened),
    lastOpenedAt: lastOpenedAge === undefined
      ? known.lastOpenedAt
      : Math.max(known.lastOpenedAt ?? -Infinity, timeOf(lastOpenedAge))
  }
}
