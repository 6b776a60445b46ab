/**
 * The transitions of `probe`. Leases limit the probes of the whole fleet, where a limit in each instance would send as
 * many per instance.
 *
 * A lease belongs to its generation and ends by itself, so a holder that was killed or hangs does not keep its place.
 * Its name holds a number that grows, so an `Ask` that arrives after its lease was settled is recognised as late and
 * denied.
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
import type { StorageMillis } from "./Time.ts"

/** A request for a lease. Sent again under the same name, it grants the same lease, and does not extend it. */
export interface Ask {
  readonly lease: LeaseName
  /** The generation that the requesting instance knows. */
  readonly generation: number
  /** How long to lease. The holder counts it from its request, so the lease ends for the holder first. */
  readonly duration: number
  /** How many probes may run at once, by the requesting instance's policy. */
  readonly probes: number
  readonly fingerprint?: string | undefined
}

/**
 * Grants a lease while fewer than `probes` are live. When the open time is over, the same step begins a half-open
 * round.
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
  now: StorageMillis
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

/** How a leased probe ended, and what follows from it by the policy of the instance that settles the lease. */
export interface Settle {
  readonly lease: LeaseName
  /** The generation in which the lease was granted. */
  readonly generation: number
  readonly outcome:
    | { readonly _tag: "Success"; readonly successes: number; readonly why: Author["why"] }
    | { readonly _tag: "Failure"; readonly opening: Opening; readonly hint: number; readonly why: Author["why"] }
    | { readonly _tag: "Ignored" }
  readonly fingerprint?: string | undefined
}

/**
 * Frees the lease, and in the same step counts a success, closes at the `successes`-th, or reopens on a failure. A
 * lease that lapsed, was settled before or is of another generation changes nothing (`settled` is `false`).
 *
 * It counts only the successes of the half-open round: a probe enters the lifetime counts by its instance's report, as
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
