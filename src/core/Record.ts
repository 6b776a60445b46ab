/**
 * The record of one circuit, as a storage keeps it, and the snapshot that instances read of it. The transitions are in
 * `Report.ts`, `Change.ts` and `Lease.ts`: pure functions `(record | undefined, input, now, idleTimeToLive)` that
 * return a new record, or the same reference when nothing needs to be written.
 *
 * All times are milliseconds of the storage's clock, all durations are milliseconds. Read `now` after the record is
 * locked (its row, its key): an earlier value may grant leases that have already lapsed. `undefined` is a circuit that
 * was never written. An expired record is treated like `undefined`, so a storage may delete it at any time.
 *
 * Records are plain JSON. No value from outside becomes a key, so an instance called `__proto__` does no harm. Fields
 * that this version does not know are kept.
 */
import { type Bucket, totals } from "./Buckets.ts"
import { type Counts, type LastCalls, type LifetimeCounts, noLifetimeCounts } from "./Delta.ts"
import type { StorageMillis } from "./Time.ts"

/** Bump when older code could no longer write a record without damage. An added field needs no bump. */
export const FORMAT = 1

/**
 * Identifies a lease: the instance that requested it, and a number that grows with every new lease of that instance.
 */
export interface LeaseName {
  readonly instance: string
  readonly sequence: number
}

/** A lease of a probe. After `until` its place is free; its probe may still run, and settle it. */
export interface Lease extends LeaseName {
  readonly until: StorageMillis
}

/** A state with its own data. An `Open` whose `until` has passed stays `Open` until a lease is requested. */
export type RecordState =
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Open"; readonly until: StorageMillis }
  | {
    readonly _tag: "HalfOpen"
    readonly leases: ReadonlyArray<Lease>
    readonly successes: number
    /** Failed probes of this round, where a sample of several decides. Absent if there was none. */
    readonly failures?: number | undefined
    /** No lease is granted before: the `retryAfter` of a probe that did not end the round. Absent if there was none. */
    readonly probesFrom?: StorageMillis | undefined
  }

/** An operator's override on top of the state. Without `until` it holds until it is cleared. */
export interface RecordOverride {
  readonly kind: "ForcedOpen" | "Disabled" | "MetricsOnly"
  readonly reason: string
  readonly actor: string
  readonly until?: StorageMillis | undefined
}

/** The cause of the last state change. `evidence` is plain JSON. */
export interface Why {
  readonly reason: string
  readonly actor?: string | undefined
  readonly evidence?: unknown
}

export interface RecordLifetime extends LifetimeCounts {
  readonly opened: number
  readonly lastSuccessAt?: StorageMillis | undefined
  readonly lastSuccessDuration?: number | undefined
  readonly lastFailureAt?: StorageMillis | undefined
  readonly lastFailureDuration?: number | undefined
  readonly lastOpenedAt?: StorageMillis | undefined
}

/** The lifetime with the last calls of a report merged in. Where two calls ended at once, the report's is taken. */
export const withLastCalls = (
  lifetime: RecordLifetime,
  { lastFailureAge, lastFailureDuration, lastSuccessAge, lastSuccessDuration }: LastCalls,
  timeOf: (age: number) => number
): RecordLifetime => {
  const isLast = (at: StorageMillis | undefined, age: number | undefined): age is number =>
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

/** A message that takes effect once, however often and late it arrives. `sequence` grows per kind and instance. */
export interface Message {
  readonly kind: "report" | "ask" | "operation"
  readonly instance: string
  readonly sequence: number
}

/** The newest message of its kind and instance that took effect. */
export interface Seen extends Message {
  readonly at: StorageMillis
}

/**
 * An instance suspects that the evidence trips, and has called for the counts of all. It ends by itself at `until`, or with
 * the generation.
 */
export interface Alert {
  readonly calledAt: StorageMillis
  readonly until: StorageMillis
}

export interface CircuitRecord {
  readonly format: number
  /** Grows with every change that other instances must see; 0 if there was none. */
  readonly generation: number
  readonly state: RecordState
  /** When the state began; absent if it never changed. An override does not move it. */
  readonly changedAt?: StorageMillis | undefined
  /** Consecutive openings. Read it through `openingsAt`, which returns 0 once the backoff is over. */
  readonly openings: number
  /** The planned length of the last opening; 0 if there was none. */
  readonly openFor: number
  readonly override?: RecordOverride | undefined
  /** The end of the longest `retryAfter`; in the past if none is running. */
  readonly hintUntil: StorageMillis
  readonly why?: Why | undefined
  /** The fingerprint of the policy that made the last change. It is shown, and never used as a key. */
  readonly fingerprint?: string | undefined
  readonly lifetime: RecordLifetime
  /** The evidence of this generation. */
  readonly window: ReadonlyArray<Bucket>
  /** Consecutive failures of this generation, in the order of the reports. */
  readonly streak: number
  readonly seen: ReadonlyArray<Seen>
  /** The last alert of this generation, which may be over. */
  readonly alert?: Alert | undefined
  /** The storage's clock when the record was last written. It is later than now only if the clock was set back since. */
  readonly usedAt: StorageMillis
}

/** The record of a circuit that never changed, as its first report writes it. It means the same as no record. */
export const created = (now: StorageMillis): CircuitRecord => ({
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

/** Whether this version may write the record. A record of a newer format is read-only. */
export const isWritable = (record: { readonly format: number } | undefined): boolean =>
  record === undefined || record.format <= FORMAT

/**
 * The generation of a change whose author knows `known`. It is above the record's and above `known`. Because it is at
 * least the clock in microseconds, it is also above every generation that the storage has lost.
 */
export const nextGeneration = (record: CircuitRecord | undefined, known: number, now: StorageMillis): number =>
  Math.max((record?.generation ?? 0) + 1, known + 1, Math.floor(now * 1000))

/** Whether a lease holds a place. */
export const isLive = (lease: Lease, now: StorageMillis): boolean => now < lease.until

/** The leases that hold a place. */
export const liveLeases = ({ state }: CircuitRecord, now: StorageMillis): ReadonlyArray<Lease> =>
  state._tag === "HalfOpen" ? state.leases.filter((lease) => isLive(lease, now)) : []

/** The override in force. */
export const overrideAt = ({ override }: CircuitRecord, now: StorageMillis): RecordOverride | undefined =>
  override !== undefined && now < (override.until ?? Infinity) ? override : undefined

/**
 * When the consecutive openings are reset: once the circuit stayed closed for the planned length of its last opening.
 */
const backoffEndsAt = ({ changedAt = 0, openFor, state }: CircuitRecord): number =>
  (state._tag === "Open" ? state.until : changedAt) + openFor

/** Consecutive openings at `now`. They are reset only while the circuit is closed. */
export const openingsAt = (record: CircuitRecord, now: StorageMillis): number =>
  record.state._tag === "Closed" && now >= backoffEndsAt(record) ? 0 : record.openings

/**
 * The time from which a storage may delete the record; `Infinity` for never. That is `idleTimeToLive` after its last
 * use or change, but not before its open time, leases, override and backoff are over, and the wait of a half-open round.
 *
 * Only a write changes this time, so a storage can set its own timer (Redis `PEXPIREAT`, a column to sweep by) when it
 * writes.
 */
export const expiresAt = (record: CircuitRecord, idleTimeToLive: number): number => {
  const { override, state } = record
  if (!isWritable(record)) return Infinity
  return Math.max(
    record.usedAt + idleTimeToLive,
    record.openings > 0 ? backoffEndsAt(record) : 0,
    override === undefined ? 0 : override.until ?? Infinity,
    ...(state._tag === "HalfOpen" ? [state.probesFrom ?? -Infinity, ...state.leases.map(({ until }) => until)] : [])
  )
}

/** Whether a storage may delete the record now. */
export const expired = (record: CircuitRecord, idleTimeToLive: number, now: StorageMillis): boolean =>
  now >= expiresAt(record, idleTimeToLive)

/** The record as transitions see it: `undefined` if it has expired, and with its times by the clock of now. */
export const unexpired = (
  record: CircuitRecord | undefined,
  idleTimeToLive: number,
  now: StorageMillis
): CircuitRecord | undefined =>
  record === undefined || expired(record, idleTimeToLive, now) ? undefined : setBack(record, now)

/**
 * The record by a clock that was set back since the last write, as by a failover to a server whose clock is behind. Its
 * times are moved back with the clock, as if it was written just now. So nothing lasts longer than it was to last when
 * it was written: an open time, a lease, an override, a hint. The same reference where the clock was not set back.
 */
const setBack = (record: CircuitRecord, now: StorageMillis): CircuitRecord => {
  const aheadMillis = record.usedAt - now
  if (aheadMillis <= 0 || !isWritable(record)) return record
  const { alert, changedAt, hintUntil, override, state } = record
  return {
    ...record,
    ...(alert === undefined
      ? {}
      : { alert: { calledAt: alert.calledAt - aheadMillis, until: alert.until - aheadMillis } }),
    state: state._tag === "Closed"
      ? state
      : state._tag === "Open"
      ? { ...state, until: state.until - aheadMillis }
      : {
        ...state,
        leases: state.leases.map((lease) => ({ ...lease, until: lease.until - aheadMillis })),
        probesFrom: state.probesFrom === undefined ? undefined : state.probesFrom - aheadMillis
      },
    changedAt: changedAt === undefined ? undefined : changedAt - aheadMillis,
    override: override?.until === undefined ? override : { ...override, until: override.until - aheadMillis },
    hintUntil: hintUntil - aheadMillis,
    usedAt: now
  }
}

/** Whether this message, or a newer one of its kind and instance, took effect within the idle time. */
export const isRepeat = (
  record: CircuitRecord | undefined,
  { instance, kind, sequence }: Message,
  now: StorageMillis,
  idleTimeToLive: number
): boolean =>
  record !== undefined &&
  record.seen.some((seen) =>
    seen.kind === kind && seen.instance === instance && sequence <= seen.sequence && now < seen.at + idleTimeToLive
  )

/** The record after a message took effect: used now, and with the message remembered, so that `isRepeat` finds it. */
export const acknowledged = (
  record: CircuitRecord,
  { instance, kind, sequence }: Message,
  now: StorageMillis,
  idleTimeToLive: number
): CircuitRecord => {
  const others = record.seen.filter((seen) =>
    now < seen.at + idleTimeToLive && (seen.kind !== kind || seen.instance !== instance)
  )
  return { ...record, usedAt: now, seen: [...others, { kind, instance, sequence, at: now }] }
}

/** The alert that runs. */
export const alertAt = ({ alert }: CircuitRecord, now: StorageMillis): Alert | undefined =>
  alert !== undefined && now < alert.until ? alert : undefined

/** The record after an instance has called for the counts of all: an alert that runs is made longer, and else one begins. */
export const alerted = (record: CircuitRecord, millis: number, now: StorageMillis): CircuitRecord => {
  const { calledAt = now, until = -Infinity } = alertAt(record, now) ?? {}
  return { ...record, alert: { calledAt, until: Math.max(until, now + millis) }, usedAt: now }
}

/** Whether an alert begins with this record, so that it is announced. */
export const beginsAlert = (before: CircuitRecord | undefined, after: CircuitRecord): boolean =>
  after.alert !== undefined && after.alert.calledAt !== before?.alert?.calledAt

/** A record without its evidence, as each new generation begins. */
export const withoutEvidence = ({ alert: _, ...record }: CircuitRecord): CircuitRecord => ({
  ...record,
  window: [],
  streak: 0
})

/** The cause of a change, and the fingerprint of the policy that made it. */
export interface Author {
  readonly why: Why
  readonly fingerprint?: string | undefined
}

/** How long to open. A hint that is still running lengthens it, up to `maxOpenFor`. */
export interface Opening {
  readonly openFor: number
  readonly maxOpenFor: number
}

/** The record after a state change: a new generation without evidence. An override in force stays. */
export const changed = (
  record: CircuitRecord,
  generation: number,
  state: RecordState,
  { fingerprint, why }: Author,
  now: StorageMillis
): CircuitRecord => ({
  ...withoutEvidence(record),
  generation,
  state,
  // In metrics-only, Closed follows Closed: the state has not changed, and its backoff ends when it would have.
  changedAt: state._tag === "Closed" && record.state._tag === "Closed" ? record.changedAt : now,
  openings: openingsAt(record, now),
  override: overrideAt(record, now),
  // A dependency that recovered is not held to a `retryAfter` from before.
  hintUntil: state._tag === "Closed" ? 0 : record.hintUntil,
  why,
  fingerprint: fingerprint ?? record.fingerprint,
  usedAt: now
})

/** The record after an opening. The hint is the record's, so the longest one applies whichever instance trips. */
export const opened = (
  record: CircuitRecord,
  generation: number,
  { maxOpenFor, openFor: planned }: Opening,
  author: Author,
  now: StorageMillis
): CircuitRecord => {
  const openFor = Math.min(maxOpenFor, Math.max(planned, record.hintUntil - now))
  return {
    ...changed(record, generation, { _tag: "Open", until: now + openFor }, author, now),
    openings: openingsAt(record, now) + 1,
    openFor,
    lifetime: { ...record.lifetime, opened: record.lifetime.opened + 1, lastOpenedAt: now }
  }
}

/** The failed probes of a round, absent where there is none, as earlier versions of the record had it. */
export const failedProbes = (failures: number | undefined): { readonly failures?: number } =>
  failures === undefined || failures === 0 ? {} : { failures }

/** A state as other machines read it: in remaining times, because clocks differ. */
export type SnapshotState =
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Open"; readonly remaining: number }
  | {
    readonly _tag: "HalfOpen"
    /** Leases that hold a place. A reader may start as many probes more as its own policy's `probes` exceed these. */
    readonly live: number
    readonly successes: number
    /** Failed probes of this round; absent if there was none. */
    readonly failures?: number | undefined
    /** Time until the first of these places is free, unless its lease is settled before; absent if there is none. */
    readonly nextLapse?: number | undefined
    /** Time until a probe may start, because one before had a `retryAfter`; absent if none is running. */
    readonly probesIn?: number | undefined
  }

/** An override as other machines read it; `remaining` is absent where it ends by hand alone. */
export interface SnapshotOverride extends Omit<RecordOverride, "until"> {
  readonly remaining?: number | undefined
}

/** An alert as other machines read it. */
export interface SnapshotAlert {
  /** How long it still lasts. */
  readonly remaining: number
  /** How long ago it was called. */
  readonly since: number
}

/** Checks an alert that a storage has answered, because it may answer anything. */
export const isSnapshotAlert = (value: unknown): value is SnapshotAlert => {
  const { remaining, since } = (value ?? {}) as Partial<SnapshotAlert>
  return typeof remaining === "number" && remaining >= 0 && typeof since === "number" && since >= 0
}

/** The counts of a snapshot since its record began. */
export interface SnapshotLifetime extends LifetimeCounts, LastCalls {
  readonly opened: number
  readonly lastOpenedAge?: number | undefined
}

/** The fleet's view of a circuit. Instances mirror it, put it back after a loss of data, export and import it. */
export interface Snapshot {
  readonly format: number
  readonly generation: number
  /**
   * The storage's clock when the snapshot was taken. Opaque: pass it back unchanged with a trip that was decided on it.
   */
  readonly asOf: StorageMillis
  readonly state: SnapshotState
  /** How long the state has lasted; absent if it never changed. */
  readonly elapsed?: number | undefined
  readonly openings: number
  readonly openFor: number
  readonly override?: SnapshotOverride | undefined
  /** Remaining time of the longest `retryAfter`; 0 if none is running. */
  readonly hint: number
  readonly why?: Why | undefined
  readonly fingerprint?: string | undefined
  readonly lifetime: SnapshotLifetime
  /** Counts over each requested `within`. Zero where no instance has reported in buckets of that span's width. */
  readonly totals: ReadonlyArray<Counts>
  readonly streak: number
  /** Absent if none runs. */
  readonly alert?: SnapshotAlert | undefined
  /** How many instances have reported within the idle time, or some more. Absent where the storage does not count them. */
  readonly members?: number | undefined
}

/** Whether the snapshot is that of a circuit without a record: it was never written, or is forgotten. */
export const isBlank = ({ generation, lifetime, override }: Snapshot): boolean =>
  generation === 0 && override === undefined &&
  lifetime.success + lifetime.failure + lifetime.ignored + lifetime.rejected + lifetime.opened === 0

/** The snapshot of a circuit. It writes nothing; a circuit that was never written is Closed at generation 0. */
export const snapshot = (
  stored: CircuitRecord | undefined,
  withins: ReadonlyArray<number>,
  now: StorageMillis,
  idleTimeToLive: number
): Snapshot => {
  const record = unexpired(stored, idleTimeToLive, now) ?? created(now)
  const { lastFailureAt, lastOpenedAt, lastSuccessAt, ...counts } = record.lifetime
  return {
    format: record.format,
    generation: record.generation,
    asOf: now,
    state: stateSnapshot(record, now),
    elapsed: ageOf(record.changedAt, now),
    openings: openingsAt(record, now),
    openFor: record.openFor,
    override: overrideSnapshot(record, now),
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
    streak: record.streak,
    ...alertSnapshot(record, now),
    ...membersOf(record, now, idleTimeToLive)
  }
}

const alertSnapshot = (record: CircuitRecord, now: StorageMillis): Pick<Snapshot, "alert"> => {
  const alert = alertAt(record, now)
  return alert === undefined ? {} : { alert: { remaining: alert.until - now, since: now - alert.calledAt } }
}

const membersOf = ({ seen }: CircuitRecord, now: StorageMillis, idleTimeToLive: number): Pick<Snapshot, "members"> => {
  const members = seen.filter(({ at, kind }) => kind === "report" && now < at + idleTimeToLive).length
  return members === 0 ? {} : { members }
}

const ageOf = (at: StorageMillis | undefined, now: StorageMillis): number | undefined =>
  at === undefined ? undefined : Math.max(0, now - at)

const stateSnapshot = (record: CircuitRecord, now: StorageMillis): SnapshotState => {
  const { state } = record
  switch (state._tag) {
    case "Closed":
      return state
    case "Open":
      return { _tag: "Open", remaining: Math.max(0, state.until - now) }
    case "HalfOpen": {
      const left = liveLeases(record, now).map(({ until }) => until - now)
      const { probesFrom = -Infinity } = state
      return {
        _tag: "HalfOpen",
        live: left.length,
        successes: state.successes,
        ...failedProbes(state.failures),
        nextLapse: left.length === 0 ? undefined : Math.min(...left),
        ...(now < probesFrom ? { probesIn: probesFrom - now } : {})
      }
    }
  }
}

const overrideSnapshot = (record: CircuitRecord, now: StorageMillis): SnapshotOverride | undefined => {
  const override = overrideAt(record, now)
  if (override === undefined) return undefined
  const { until, ...rest } = override
  return { ...rest, remaining: until === undefined ? undefined : until - now }
}

/** A change as a history keeps it. `why` is the cause of the change where it differs from the record's. */
export const historyEntry = (
  before: CircuitRecord | undefined,
  after: CircuitRecord,
  why: Why | undefined,
  now: StorageMillis
) => ({
  generation: after.generation,
  at: now,
  from: before?.state._tag ?? "Closed" as const,
  to: after.state._tag,
  override: overrideAt(after, now)?.kind,
  why: why ?? after.why ?? { reason: "not known" }
})
