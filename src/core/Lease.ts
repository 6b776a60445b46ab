/**
 * The transitions of `probe`: leases by which the fleet, and not each instance, sends a half-open circuit its probes.
 *
 * A lease belongs to its generation and ends by itself, so neither a killed nor a hung holder keeps its place. Its name holds
 * a number that grows, so a request to lease that arrives late, after the lease was settled, brings nothing back.
 */
import {
  acknowledged,
  type Author,
  changed,
  type CircuitRecord,
  isLive,
  isRepeat,
  isWritable,
  type LeaseName,
  liveLeases,
  nextGeneration,
  opened,
  type Opening,
  overrideAt,
  unexpired
} from "./Record.ts"

/** A request for a lease. Asking again by the same name, until there is an answer, grants once and prolongs nothing. */
export interface Ask {
  readonly lease: LeaseName
  /** The generation that the asker knows. */
  readonly generation: number
  /** How long to lease. The holder counts it from its request, so that it ends there first. */
  readonly duration: number
  /** How many probes may run at once, by the asker's policy. */
  readonly probes: number
  readonly fingerprint?: string | undefined
}

/**
 * Grants a lease while fewer than `probes` are live, and begins a half-open round when the open time is up, in one step.
 *
 * It denies where the circuit is closed or still open, where an override is in force (whatever it is, no probe is needed), and
 * where the asker knows a newer generation: put that back first. The snapshot after it says when to come back.
 */
export const ask = (
  stored: CircuitRecord | undefined,
  { duration, fingerprint, generation, lease, probes }: Ask,
  now: number,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly granted: boolean } => {
  const denied = { record: stored, granted: false }
  const record = unexpired(stored, idleTimeToLive, now)
  if (record === undefined || !isWritable(record) || record.generation < generation) return denied
  if (liveLeases(record, now).some(isNamed(lease))) return { record: stored, granted: true }
  const message = { kind: "ask", instance: lease.instance, sequence: lease.sequence } as const
  if (isRepeat(record, message, now, idleTimeToLive) || overrideAt(record, now) !== undefined) return denied
  const round = roundAt(record, fingerprint, now)
  if (round?.state._tag !== "HalfOpen") return denied
  const live = liveLeases(round, now)
  if (live.length >= probes) return denied
  const leases = [...live, { instance: lease.instance, sequence: lease.sequence, until: now + duration }]
  return {
    record: acknowledged({ ...round, state: { ...round.state, leases } }, message, now, idleTimeToLive),
    granted: true
  }
}

const roundAt = (
  record: CircuitRecord,
  fingerprint: string | undefined,
  now: number
): CircuitRecord | undefined => {
  const { state } = record
  if (state._tag !== "Open") return record
  if (now < state.until) return undefined
  const generation = nextGeneration(record, record.generation, now)
  const author = { why: { reason: "the open time is over" }, fingerprint }
  return changed(record, generation, { _tag: "HalfOpen", leases: [], successes: 0 }, author, now)
}

const isNamed = (name: LeaseName) => (lease: LeaseName): boolean =>
  lease.instance === name.instance && lease.sequence === name.sequence

/** How a leased probe ended, with what follows from it by the settler's policy. */
export interface Settle {
  readonly lease: LeaseName
  /** The generation that the lease was granted in. */
  readonly generation: number
  readonly outcome:
    | { readonly _tag: "Success"; readonly successes: number; readonly why: Author["why"] }
    | { readonly _tag: "Failure"; readonly opening: Opening; readonly hint: number; readonly why: Author["why"] }
    | { readonly _tag: "Ignored" }
  readonly fingerprint?: string | undefined
}

/**
 * Frees the lease, and in the same step counts a success, closes at the `successes`-th, or reopens on a failure. For a lease
 * that lapsed, was settled or is of another generation it does none of these (`settled` is `false`).
 *
 * The round's successes are all it counts: a probe enters the lifetime counts by its instance's report, as every call does.
 */
export const settle = (
  stored: CircuitRecord | undefined,
  { fingerprint, generation, lease, outcome }: Settle,
  now: number,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly settled: boolean } => {
  const record = unexpired(stored, idleTimeToLive, now)
  const held = record?.generation === generation && record.state._tag === "HalfOpen" && isWritable(record)
    ? record.state.leases.find(isNamed(lease))
    : undefined
  if (record?.state._tag !== "HalfOpen" || held === undefined || !isLive(held, now)) {
    return { record: stored, settled: false }
  }
  const next = nextGeneration(record, generation, now)
  if (outcome._tag === "Failure") {
    const hinted = { ...record, hintUntil: Math.max(record.hintUntil, now + outcome.hint) }
    return { record: opened(hinted, next, outcome.opening, { why: outcome.why, fingerprint }, now), settled: true }
  }
  const successes = record.state.successes + (outcome._tag === "Success" ? 1 : 0)
  if (outcome._tag === "Success" && successes >= outcome.successes) {
    return {
      record: changed(record, next, { _tag: "Closed" }, { why: outcome.why, fingerprint }, now),
      settled: true
    }
  }
  const leases = record.state.leases.filter((other) => other !== held)
  return { record: { ...record, state: { _tag: "HalfOpen", leases, successes }, usedAt: now }, settled: true }
}
