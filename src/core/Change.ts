/**
 * The transitions of `change`: trips, what operators do, and putting back what a storage has lost. Each is a compare-and-set
 * on the generation; the losers learn the winner's by a snapshot.
 */
import {
  acknowledged,
  type Author,
  changed,
  type CircuitRecord,
  created,
  isRepeat,
  isWritable,
  type LeaseName,
  nextGeneration,
  opened,
  type Opening,
  type RecordLifetime,
  type RecordOverride,
  type RecordState,
  type Snapshot,
  type SnapshotOverride,
  unexpired,
  type Why,
  withLastCalls
} from "./Record.ts"

/**
 * `at(generation)`: an instance found that the evidence trips the circuit. Refused when the generation is another by now, and
 * when the snapshot it was decided on is older than `maxAge` (two intervals), by the storage's clock, which took it: a
 * proposer that was paused, or whose request was, must not trip on old evidence.
 */
export interface Trip extends Author {
  readonly _tag: "Trip"
  readonly generation: number
  readonly asOf: number
  readonly maxAge: number
  /** Absent in metrics-only: the trip is a change from Closed to Closed, with a new window. */
  readonly opening?: Opening | undefined
}

/**
 * `below(generation)`: an instance knows of a newer record than the storage, which has lost it, and puts it back as it was,
 * under its own generation.
 */
export interface PutBack {
  readonly _tag: "PutBack"
  /** The last one that the storage confirmed. */
  readonly snapshot: Snapshot
  /** How long ago it was confirmed, by the holder's monotonic clock. Beyond the idle time it is not put back: it may have expired. */
  readonly age: number
  /** The leases that the holder itself has, in remaining time. */
  readonly leases: ReadonlyArray<LeaseName & { readonly remaining: number }>
  /**
   * Set where it is known, and not guessed, that the circuit has come to this: a copy is brought up to date with the storage that
   * decides. Then an Open, too, gives way to a Closed.
   */
  readonly certain?: boolean | undefined
}

/** The reason that the history gives for a put-back. The snapshot's own reason is its evidence. */
export const putBackWhy = ({ why }: Snapshot): Why => ({ reason: "put back after a loss of data", evidence: why })

/**
 * `always`: what an operator wants, whatever the state. `id` is the operation's own and random: it happens once, however often
 * it is sent. `known` is the newest generation the author knows of.
 */
export interface Operation {
  readonly _tag: "Operation"
  readonly id: string
  readonly known: number
  /** For the history; an override and an import have their own, and the former leaves the record's as it was. */
  readonly why: Why
  readonly to: OperationTo
}

export type OperationTo =
  /** Puts an override on top of the state, for a duration or until it is cleared. Leases are lost, nothing else. */
  | ({ readonly _tag: "Override" } & SnapshotOverride)
  | { readonly _tag: "ClearOverride" }
  /** Closes, with nothing remembered but the lifetime counts; leaves an override alone. */
  | { readonly _tag: "Reset" }
  /** Takes probes at once. */
  | { readonly _tag: "HalfOpen" }
  /** Leaves a Closed that expires. */
  | { readonly _tag: "Remove" }
  /** Takes over what was exported, its reason too: open for the time that remains, half-open with no lease. */
  | { readonly _tag: "Import"; readonly snapshot: Snapshot }

export type Change = Trip | PutBack | Operation

/** Why an operation is refused: the `cause` of the `Denied` that it fails with. */
export const REFUSED_OPERATION =
  "a newer version of this library owns the circuit, or wrote the snapshot to import: update this process"

/**
 * Makes a change, or does not (`committed`). Who lost finds the winner in the snapshot of the record. There is a new
 * generation to announce and a row of history to write when the record's generation is another than before: that can be
 * without a commit, too (see `PutBack`).
 */
export const change = (
  stored: CircuitRecord | undefined,
  input: Change,
  now: number,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly committed: boolean } => {
  const record = unexpired(stored, idleTimeToLive, now)
  const refused = { record: stored, committed: false }
  if (!isWritable(record)) return refused
  switch (input._tag) {
    case "Trip": {
      const stale = now - input.asOf > input.maxAge
      if (stale || (record?.generation ?? 0) !== input.generation) return refused
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
      if (input.to._tag === "Import" && !isWritable(input.to.snapshot)) return refused
      const operated = operate(record ?? created(now), input, now)
      return { record: acknowledged(operated, message, now, idleTimeToLive), committed: true }
    }
  }
}

const trip = (record: CircuitRecord, input: Trip, now: number): CircuitRecord => {
  const generation = nextGeneration(record, input.generation, now)
  return input.opening === undefined
    ? changed(record, generation, { _tag: "Closed" }, input, now)
    : opened(record, generation, input.opening, input, now)
}

const putBack = (
  record: CircuitRecord,
  { age, certain = false, leases, snapshot }: PutBack,
  now: number
): { readonly record: CircuitRecord; readonly committed: boolean } => {
  if (!certain && snapshot.state._tag === "Closed" && record.state._tag === "Open" && now < record.state.until) {
    // Nobody can tell which of the two the circuit has come to, and a wrongly open one heals itself. But what an operator
    // wanted last, the newer one knows, and the storage must not go back on it.
    const generation = nextGeneration(record, snapshot.generation, now)
    const override = overrideFrom(snapshot.override, age, now)
    return { record: { ...record, generation, override, window: [], streak: 0, usedAt: now }, committed: false }
  }
  const restored = restore(record, snapshot.generation, snapshot, age, now)
  if (restored.state._tag !== "HalfOpen") return { record: restored, committed: true }
  const held = leases.map(({ instance, remaining, sequence }) => ({ instance, sequence, until: now + remaining }))
  return { record: { ...restored, state: { ...restored.state, leases: held } }, committed: true }
}

const operate = (record: CircuitRecord, { known, to, why }: Operation, now: number): CircuitRecord => {
  const generation = nextGeneration(record, known, now)
  switch (to._tag) {
    case "Override":
    case "ClearOverride": {
      const { state } = record
      return {
        ...record,
        generation,
        // Leases are of their generation: of the older one they could be neither settled nor counted.
        state: state._tag === "HalfOpen" ? { ...state, leases: [] } : state,
        override: to._tag === "Override" ? overrideFrom(to, 0, now) : undefined,
        window: [],
        streak: 0
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

/** The record as the snapshot had it `age` ago, its times running on. What the record knows of its lifetime stays known. */
const restore = (
  record: CircuitRecord,
  generation: number,
  snapshot: Snapshot,
  age: number,
  now: number
): CircuitRecord => ({
  ...record,
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
  window: [],
  streak: 0,
  usedAt: now
})

const stateFrom = ({ state }: Snapshot, age: number, now: number): RecordState => {
  switch (state._tag) {
    case "Closed":
      return { _tag: "Closed" }
    case "Open":
      return { _tag: "Open", until: now + state.remaining - age }
    case "HalfOpen":
      return { _tag: "HalfOpen", leases: [], successes: state.successes }
  }
}

const overrideFrom = (
  override: SnapshotOverride | undefined,
  age: number,
  now: number
): RecordOverride | undefined => {
  if (override === undefined) return undefined
  const { actor, kind, reason, remaining } = override
  return { kind, reason, actor, until: remaining === undefined ? undefined : now + remaining - age }
}

/**
 * Both know some of the same outcomes, and nobody knows how many: the larger count is never too large, and however often the
 * same is put back, nothing counts twice.
 */
const restoreLifetime = (
  known: RecordLifetime,
  { lastOpenedAge, ...told }: Snapshot["lifetime"],
  age: number,
  now: number
): RecordLifetime => {
  const timeOf = (ago: number): number => now - age - ago
  return {
    ...withLastCalls(known, told, timeOf),
    success: Math.max(known.success, told.success),
    failure: Math.max(known.failure, told.failure),
    ignored: Math.max(known.ignored, told.ignored),
    timeout: Math.max(known.timeout, told.timeout),
    slow: Math.max(known.slow, told.slow),
    rejected: Math.max(known.rejected, told.rejected),
    opened: Math.max(known.opened, told.opened),
    lastOpenedAt: lastOpenedAge === undefined
      ? known.lastOpenedAt
      : Math.max(known.lastOpenedAt ?? -Infinity, timeOf(lastOpenedAge))
  }
}
