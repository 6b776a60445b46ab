/**
 * What a storage keeps of one circuit, and what can be read of it. `Report.ts`, `Change.ts` and `Lease.ts` hold the
 * transitions: pure functions `(record | undefined, input, now, idleTimeToLive)` that return a new record, or the very one
 * they were given where nothing is to be written.
 *
 * All times are milliseconds by the storage's clock, all durations milliseconds. `now` is read once the record is held (its
 * row locked, its key owned): read earlier, it grants leases that have lapsed already. `undefined` is a circuit that nobody
 * wrote; a record that has expired is read as one, so a storage may delete it when it likes.
 *
 * Records are plain JSON without keys that come from outside, so no instance can be called `__proto__` to any effect. Fields
 * that this version does not know are kept.
 */
import { type Bucket, totals } from "./Buckets.ts"
import { type Counts, type LastCalls, type LifetimeCounts, noLifetimeCounts } from "./Delta.ts"

/** Raised when older code could no longer write a record without harm; an added field is no reason. */
export const FORMAT = 1

/** A permission to probe, named by who asks: its instance, and a number that grows with every new lease of it. */
export interface LeaseName {
  readonly instance: string
  readonly sequence: number
}

export interface Lease extends LeaseName {
  readonly until: number
}

/** A state with its own data. An `Open` whose time is up stays one until a probe is asked for. */
export type RecordState =
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Open"; readonly until: number }
  | { readonly _tag: "HalfOpen"; readonly leases: ReadonlyArray<Lease>; readonly successes: number }

/** The operator's will on top of the state. Without `until` it holds until it is cleared. */
export interface RecordOverride {
  readonly kind: "ForcedOpen" | "Disabled" | "MetricsOnly"
  readonly reason: string
  readonly actor: string
  readonly until?: number | undefined
}

/** What brought the last change of the state about. `evidence` is plain JSON. */
export interface Why {
  readonly reason: string
  readonly actor?: string | undefined
  readonly evidence?: unknown
}

export interface RecordLifetime extends LifetimeCounts {
  readonly opened: number
  readonly lastSuccessAt?: number | undefined
  readonly lastSuccessDuration?: number | undefined
  readonly lastFailureAt?: number | undefined
  readonly lastFailureDuration?: number | undefined
  readonly lastOpenedAt?: number | undefined
}

/** The times of the last calls, and what they took, after more is told of them: the told one's where both ended at once. */
export const withLastCalls = (
  lifetime: RecordLifetime,
  { lastFailureAge, lastFailureDuration, lastSuccessAge, lastSuccessDuration }: LastCalls,
  timeOf: (age: number) => number
): RecordLifetime => {
  const isLast = (at: number | undefined, age: number | undefined): age is number =>
    age !== undefined && timeOf(age) >= (at ?? -Infinity)
  return {
    ...lifetime,
    ...(isLast(lifetime.lastSuccessAt, lastSuccessAge)
      ? { lastSuccessAt: timeOf(lastSuccessAge), lastSuccessDuration }
      : {}),
    ...(isLast(lifetime.lastFailureAt, lastFailureAge)
      ? { lastFailureAt: timeOf(lastFailureAge), lastFailureDuration }
      : {})
  }
}

/** What must be acted on once, however often and late it comes. `sequence` grows by kind and instance. */
export interface Message {
  readonly kind: "report" | "ask" | "operation"
  readonly instance: string
  readonly sequence: number
}

/** The newest message of its kind and instance that was acted on. */
export interface Seen extends Message {
  readonly at: number
}

export interface CircuitRecord {
  readonly format: number
  /** Grows with every change that others must see; 0 where there was none. */
  readonly generation: number
  readonly state: RecordState
  /** When the state began; absent while it never changed. An override leaves it as it was. */
  readonly changedAt?: number | undefined
  /** Consecutive openings. Read it through `openingsAt`, which forgets in time. */
  readonly openings: number
  /** How long the last opening was to last; 0 where there was none. */
  readonly openFor: number
  readonly override?: RecordOverride | undefined
  /** Until when a `retryAfter` asks not to be called; in the past where none does. */
  readonly hintUntil: number
  readonly why?: Why | undefined
  /** Of the policy that made the last change: an observation, never a key. */
  readonly fingerprint?: string | undefined
  readonly lifetime: RecordLifetime
  /** Evidence of this generation. */
  readonly window: ReadonlyArray<Bucket>
  /** Failures in a row of this generation, in the order of the reports. */
  readonly streak: number
  readonly seen: ReadonlyArray<Seen>
  readonly usedAt: number
}

/** The record of a circuit that never changed. Its first report writes it; it differs from an absent one in nothing else. */
export const created = (now: number): CircuitRecord => ({
  format: FORMAT,
  generation: 0,
  state: { _tag: "Closed" },
  openings: 0,
  openFor: 0,
  hintUntil: 0,
  lifetime: { ...noLifetimeCounts, opened: 0 },
  window: [],
  streak: 0,
  seen: [],
  usedAt: now
})

/** Whether this version may write the record. A newer one it may only read. */
export const isWritable = (record: { readonly format: number } | undefined): boolean =>
  record === undefined || record.format <= FORMAT

/** The generation of a change by someone who knew of `known`: above both, and above all that the storage has forgotten. */
export const nextGeneration = (record: CircuitRecord | undefined, known: number, now: number): number =>
  Math.max((record?.generation ?? 0) + 1, known + 1, Math.floor(now * 1000))

export const isLive = (lease: Lease, now: number): boolean => now < lease.until

export const liveLeases = ({ state }: CircuitRecord, now: number): ReadonlyArray<Lease> =>
  state._tag === "HalfOpen" ? state.leases.filter((lease) => isLive(lease, now)) : []

/** The override in force. */
export const overrideAt = ({ override }: CircuitRecord, now: number): RecordOverride | undefined =>
  override !== undefined && now < (override.until ?? Infinity) ? override : undefined

/** When the consecutive openings are forgotten: the circuit must stay closed as long as its last opening was to last. */
const backoffEndsAt = ({ changedAt = 0, openFor, state }: CircuitRecord): number =>
  (state._tag === "Open" ? state.until : changedAt) + openFor

/** Consecutive openings at `now`. They are never forgotten while the circuit is not closed. */
export const openingsAt = (record: CircuitRecord, now: number): number =>
  record.state._tag === "Closed" && now >= backoffEndsAt(record) ? 0 : record.openings

/**
 * From when on a storage may forget a record, `Infinity` for never: once idle since its last use or change, but not before an
 * open time, a lease, an override or the backoff's memory has ended.
 *
 * Only a write moves it, so a storage can set its own timer (Redis `PEXPIREAT`, a column to sweep by) when it writes.
 */
export const expiresAt = (record: CircuitRecord, idleTimeToLive: number): number => {
  const { override, state } = record
  if (!isWritable(record)) return Infinity
  return Math.max(
    record.usedAt + idleTimeToLive,
    record.openings > 0 ? backoffEndsAt(record) : 0,
    override === undefined ? 0 : override.until ?? Infinity,
    ...(state._tag === "HalfOpen" ? state.leases.map(({ until }) => until) : [])
  )
}

/** Whether a storage may forget the record now. */
export const expired = (record: CircuitRecord, idleTimeToLive: number, now: number): boolean =>
  now >= expiresAt(record, idleTimeToLive)

/** The record as transitions see it: an expired one is none. */
export const unexpired = (
  record: CircuitRecord | undefined,
  idleTimeToLive: number,
  now: number
): CircuitRecord | undefined => record === undefined || expired(record, idleTimeToLive, now) ? undefined : record

/** Whether a message is not newer than what was acted on. Who was silent for the idle time is forgotten. */
export const isRepeat = (
  record: CircuitRecord | undefined,
  { instance, kind, sequence }: Message,
  now: number,
  idleTimeToLive: number
): boolean =>
  record !== undefined &&
  record.seen.some((seen) =>
    seen.kind === kind && seen.instance === instance && sequence <= seen.sequence && now < seen.at + idleTimeToLive
  )

/** The record, used now by a message that is acted on. */
export const acknowledged = (
  record: CircuitRecord,
  { instance, kind, sequence }: Message,
  now: number,
  idleTimeToLive: number
): CircuitRecord => {
  const others = record.seen.filter((seen) =>
    now < seen.at + idleTimeToLive && (seen.kind !== kind || seen.instance !== instance)
  )
  return { ...record, usedAt: now, seen: [...others, { kind, instance, sequence, at: now }] }
}

/** Who makes a change, and why. */
export interface Author {
  readonly why: Why
  readonly fingerprint?: string | undefined
}

/** How long to open. A hint that is not yet over lengthens it, up to `maxOpenFor`. */
export interface Opening {
  readonly openFor: number
  readonly maxOpenFor: number
}

/** The record after a change of its state: a new generation with no evidence yet; an override that still holds stays. */
export const changed = (
  record: CircuitRecord,
  generation: number,
  state: RecordState,
  { fingerprint, why }: Author,
  now: number
): CircuitRecord => ({
  ...record,
  generation,
  state,
  // In metrics-only, Closed follows Closed: the circuit stayed as it was, and its backoff's memory goes on ending.
  changedAt: state._tag === "Closed" && record.state._tag === "Closed" ? record.changedAt : now,
  openings: openingsAt(record, now),
  override: overrideAt(record, now),
  // A dependency that recovered is not held to what it asked for when it was ill.
  hintUntil: state._tag === "Closed" ? 0 : record.hintUntil,
  why,
  fingerprint: fingerprint ?? record.fingerprint,
  window: [],
  streak: 0,
  usedAt: now
})

/** The record after an opening. The hint is the record's own, so that the longest counts whoever trips. */
export const opened = (
  record: CircuitRecord,
  generation: number,
  { maxOpenFor, openFor: planned }: Opening,
  author: Author,
  now: number
): CircuitRecord => {
  const openFor = Math.min(maxOpenFor, Math.max(planned, record.hintUntil - now))
  return {
    ...changed(record, generation, { _tag: "Open", until: now + openFor }, author, now),
    openings: openingsAt(record, now) + 1,
    openFor,
    lifetime: { ...record.lifetime, opened: record.lifetime.opened + 1, lastOpenedAt: now }
  }
}

/** A state as it is told to others: in remaining times, for clocks differ. */
export type SnapshotState =
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Open"; readonly remaining: number }
  | {
    readonly _tag: "HalfOpen"
    /** How many probes run. How many more may is the reader's to say: its own policy's `probes`, less these. */
    readonly live: number
    readonly successes: number
    /** After how long the first of the running probes' leases ends at the latest; absent where none runs. */
    readonly nextLapse?: number | undefined
  }

export interface SnapshotOverride extends Omit<RecordOverride, "until"> {
  readonly remaining?: number | undefined
}

export interface SnapshotLifetime extends LifetimeCounts, LastCalls {
  readonly opened: number
  readonly lastOpenedAge?: number | undefined
}

/** The fleet's view of a circuit: what an instance mirrors, puts back after a loss of data, exports and imports. */
export interface Snapshot {
  readonly format: number
  readonly generation: number
  /**
   * The storage's clock when the snapshot was taken. Opaque: it is only ever handed back, with a trip that was decided on it.
   */
  readonly asOf: number
  readonly state: SnapshotState
  /** How long the state has lasted; absent for a circuit that never changed. */
  readonly elapsed?: number | undefined
  readonly openings: number
  readonly openFor: number
  readonly override?: SnapshotOverride | undefined
  /** For how much longer a `retryAfter` holds; 0 where none does. */
  readonly hint: number
  readonly why?: Why | undefined
  readonly fingerprint?: string | undefined
  readonly lifetime: SnapshotLifetime
  /** Over each `within` that was asked for. Zero where nobody with the reader's bucket width has reported. */
  readonly totals: ReadonlyArray<Counts>
  readonly streak: number
}

/** What can be read of a circuit. It writes nothing; a circuit that nobody wrote is Closed at generation 0. */
export const snapshot = (
  stored: CircuitRecord | undefined,
  withins: ReadonlyArray<number>,
  now: number,
  idleTimeToLive: number
): Snapshot => {
  const record = unexpired(stored, idleTimeToLive, now) ?? created(now)
  const { lastFailureAt, lastOpenedAt, lastSuccessAt, ...counts } = record.lifetime
  return {
    format: record.format,
    generation: record.generation,
    asOf: now,
    state: stateAt(record, now),
    elapsed: ageOf(record.changedAt, now),
    openings: openingsAt(record, now),
    openFor: record.openFor,
    override: overrideLeft(record, now),
    hint: Math.max(0, record.hintUntil - now),
    why: record.why,
    fingerprint: record.fingerprint,
    lifetime: {
      ...counts,
      lastSuccessAge: ageOf(lastSuccessAt, now),
      lastFailureAge: ageOf(lastFailureAt, now),
      lastOpenedAge: ageOf(lastOpenedAt, now)
    },
    totals: totals(record.window, withins, now),
    streak: record.streak
  }
}

const ageOf = (at: number | undefined, now: number): number | undefined =>
  at === undefined ? undefined : Math.max(0, now - at)

const stateAt = (record: CircuitRecord, now: number): SnapshotState => {
  const { state } = record
  switch (state._tag) {
    case "Closed":
      return state
    case "Open":
      return { _tag: "Open", remaining: Math.max(0, state.until - now) }
    case "HalfOpen": {
      const left = liveLeases(record, now).map(({ until }) => until - now)
      return {
        _tag: "HalfOpen",
        live: left.length,
        successes: state.successes,
        nextLapse: left.length === 0 ? undefined : Math.min(...left)
      }
    }
  }
}

const overrideLeft = (record: CircuitRecord, now: number): SnapshotOverride | undefined => {
  const override = overrideAt(record, now)
  if (override === undefined) return undefined
  const { until, ...rest } = override
  return { ...rest, remaining: until === undefined ? undefined : until - now }
}

/** A change as a history keeps it. `why` is the change's own, where that is not the record's. */
export const historyEntry = (
  before: CircuitRecord | undefined,
  after: CircuitRecord,
  why: Why | undefined,
  now: number
) => ({
  generation: after.generation,
  at: now,
  from: before?.state._tag ?? "Closed" as const,
  to: after.state._tag,
  override: overrideAt(after, now)?.kind,
  why: why ?? after.why ?? { reason: "not known" }
})
