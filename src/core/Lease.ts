/**
 * The transitions of `probe`. Leases limit the probes of the whole fleet, where a limit in each instance would send as
 * many per instance.
 *
 * A lease holds one of the places for its time. Then the place is free again, so a holder that was killed, or whose probe
 * hangs, does not keep it. The lease itself stays in the record until it is settled or the generation ends, because a
 * probe may run as long as any call: its outcome counts whenever it comes. So no holder has to renew a lease.
 *
 * The name of a lease holds a number that grows, so an `Ask` that arrives after its lease was settled is recognised as
 * late and denied.
 */
import {
  acknowledged,
  type Author,
  changed,
  type CircuitRecord,
  failedProbes,
  isLive,
  isRepeat,
  isWritable,
  type Lease,
  type LeaseName,
  liveLeases,
  nextGeneration,
  opened,
  type Opening,
  overrideAt,
  unexpired
} from "./Record.ts"
import type { StorageMillis } from "./Time.ts"

/**
 * How many lapsed leases a record keeps, so that probes that never end do not fill it. With the default lease and one
 * probe at a time these are the probes of the last half hour.
 */
export const MOST_LAPSED_LEASES = 60

/** The leases that a record keeps: all that hold a place, and the newest of those that have lapsed. */
export const keptLeases = <L extends { readonly until: number }>(
  leases: ReadonlyArray<L>,
  now: number
): ReadonlyArray<L> => {
  const lapsed = leases.filter(({ until }) => now >= until).sort((a, b) => a.until - b.until)
  const dropped = new Set(lapsed.slice(0, Math.max(0, lapsed.length - MOST_LAPSED_LEASES)))
  return leases.filter((lease) => !dropped.has(lease))
}

/** A request for a lease. Sent again under the same name, it grants the same lease, and does not extend it. */
export interface Ask {
  readonly lease: LeaseName
  /** The generation that the requesting instance knows. */
  readonly generation: number
  /** How long the lease holds a place. The holder counts it from its request, so the place ends for the holder first. */
  readonly duration: number
  /** How many probes may run at once, by the requesting instance's policy. */
  readonly probes: number
  readonly fingerprint?: string | undefined
}

/**
 * Grants a lease while fewer than `probes` hold a place, and not before the `retryAfter` of an ignored probe is over. When
 * the open time is over, the same step begins a half-open round.
 *
 * It denies the lease if the circuit is closed or still open, if an override is in force (under none of them is a probe
 * needed), or if the instance knows a newer generation, which it must put back first. The snapshot says when to retry.
 */
export const ask = (
  stored: CircuitRecord | undefined,
  { duration, fingerprint, generation, lease, probes }: Ask,
  now: StorageMillis,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly granted: boolean } => {
  const record = unexpired(stored, idleTimeToLive, now)
  // Written where the storage's clock was set back, because else the open time would begin again with each request.
  const denied = { record: record ?? stored, granted: false }
  if (record === undefined || !isWritable(record) || record.generation < generation) return denied
  const known = leasesOf(record).find(isNamed(lease))
  if (known !== undefined) return { record: stored, granted: isLive(known, now) }
  const message = { kind: "ask", instance: lease.instance, sequence: lease.sequence } as const
  if (isRepeat(record, message, now, idleTimeToLive) || overrideAt(record, now) !== undefined) return denied
  const round = roundAt(record, fingerprint, now)
  if (round?.state._tag !== "HalfOpen") return denied
  if (now < (round.state.probesFrom ?? -Infinity)) return denied
  if (liveLeases(round, now).length >= probes) return denied
  const granted = { instance: lease.instance, sequence: lease.sequence, until: now + duration }
  const leases = [...keptLeases(round.state.leases, now), granted]
  return {
    record: acknowledged({ ...round, state: { ...round.state, leases } }, message, now, idleTimeToLive),
    granted: true
  }
}

const roundAt = (
  record: CircuitRecord,
  fingerprint: string | undefined,
  now: StorageMillis
): CircuitRecord | undefined => {
  const { state } = record
  if (state._tag !== "Open") return record
  if (now < state.until) return undefined
  const generation = nextGeneration(record, record.generation, now)
  const author = { why: { reason: "the open time is over" }, fingerprint }
  return changed(record, generation, { _tag: "HalfOpen", leases: [], successes: 0 }, author, now)
}

const leasesOf = ({ state }: CircuitRecord): ReadonlyArray<Lease> => state._tag === "HalfOpen" ? state.leases : []

const isNamed = (name: LeaseName) => (lease: LeaseName): boolean =>
  lease.instance === name.instance && lease.sequence === name.sequence

/** How a leased probe ended, and what follows from it by the policy of the instance that settles the lease. */
export interface Settle {
  readonly lease: LeaseName
  /** The generation in which the lease was granted. */
  readonly generation: number
  readonly outcome:
    | { readonly _tag: "Success"; readonly successes: number; readonly why: Author["why"] }
    | {
      readonly _tag: "Failure"
      readonly opening: Opening
      readonly hint: number
      readonly why: Author["why"]
      /** At which failed probe of the round the circuit reopens. Default 1. */
      readonly failures?: number | undefined
    }
    | {
      readonly _tag: "Ignored"
      /** The remaining time of its `retryAfter`, for which no further probe starts. Default 0. */
      readonly hint?: number | undefined
    }
  readonly fingerprint?: string | undefined
}

/**
 * Frees the lease, and in the same step counts a success or a failure, closes at the `successes`-th success, reopens at the
 * `failures`-th failure, or holds the next probes back by the hint of a probe that does neither. A lease
 * that has lapsed settles like any other. One that was settled before, that is of another generation, or that the record
 * does not know changes nothing (`settled` is `false`).
 *
 * It counts only the probes of the half-open round: a probe enters the lifetime counts by its instance's report, as
 * every call does.
 */
export const settle = (
  stored: CircuitRecord | undefined,
  { fingerprint, generation, lease, outcome }: Settle,
  now: StorageMillis,
  idleTimeToLive: number
): { readonly record: CircuitRecord | undefined; readonly settled: boolean } => {
  const record = unexpired(stored, idleTimeToLive, now)
  const held = record?.generation === generation && record.state._tag === "HalfOpen" && isWritable(record)
    ? record.state.leases.find(isNamed(lease))
    : undefined
  if (record?.state._tag !== "HalfOpen" || held === undefined) return { record: stored, settled: false }
  const next = nextGeneration(record, generation, now)
  const failures = (record.state.failures ?? 0) + (outcome._tag === "Failure" ? 1 : 0)
  if (outcome._tag === "Failure" && failures >= (outcome.failures ?? 1)) {
    const hintUntil = Math.max(record.hintUntil, now + outcome.hint, record.state.probesFrom ?? -Infinity)
    const hinted = { ...record, hintUntil }
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
  const { probesFrom } = record.state
  const hint = outcome._tag === "Success" ? 0 : outcome.hint ?? 0
  const from = hint > 0 ? { probesFrom: Math.max(probesFrom ?? -Infinity, now + hint) } : {}
  const state = { ...record.state, leases, successes, ...failedProbes(failures), ...from }
  return { record: { ...record, state, usedAt: now }, settled: true }
}
