/**
 * What is counted of a circuit between two changes lies in rows of its own, so that the many who report do not wait for one
 * row. An instance always reports to the same one of a few *stripes*. Each holds what came by it as one delta, as of the last
 * report; the record of the circuit, and the deltas of all stripes put to it, are the record of the core.
 *
 * Sums need no order. A row of failures does: it ends with a success, whatever stripe that came by. So each report with a
 * success takes a number above all that it sees, and a stripe says under which success its failures were counted. The row of
 * the fleet is what the stripes counted under the newest one. Who reports failures and does not see a success that is
 * committed at the same time was first.
 */
import { aged, type Delta, type LifetimeDelta, merge, noDelta, noStreak } from "../core/Delta.ts"
import { type CircuitRecord, created, expired, isWritable } from "../core/Record.ts"
import { report } from "../core/Report.ts"

export interface Stripe {
  /** When the last report came, by the storage's clock. */
  readonly asOf: number
  /** All that was reported, as of then; `streak.trailing` are the failures since `since`. */
  readonly delta: Delta
  /** The number of the success under which failures are counted, and of this stripe's own last one; 0 for none. */
  readonly since: number
  readonly success: number
}

export type Stripes = ReadonlyMap<number, Stripe>

/** How many stripes a circuit has where many write at once. */
export const MOST_STRIPES = 8

/** The stripe of an instance. */
export const stripeOf = (instance: string, stripes: number): number => {
  let hash = 0
  for (let i = 0; i < instance.length; i++) hash = (Math.imul(hash, 31) + instance.charCodeAt(i)) | 0
  return (hash >>> 0) % stripes
}

const newest = (stripes: Stripes): number => Math.max(0, ...[...stripes.values()].map(({ success }) => success))

/** Nothing ends in the future. */
const past = (lifetime: LifetimeDelta): LifetimeDelta => {
  const { lastFailureAge, lastSuccessAge } = lifetime
  return {
    ...lifetime,
    ...lastSuccessAge === undefined ? {} : { lastSuccessAge: Math.max(0, lastSuccessAge) },
    ...lastFailureAge === undefined ? {} : { lastFailureAge: Math.max(0, lastFailureAge) }
  }
}

/** A stripe with a report in it; of an older generation nothing but what is counted over the lifetime. */
export const enter = (stripes: Stripes, index: number, delta: Delta, isCurrent: boolean, now: number): Stripe => {
  const { asOf, delta: before, since, success } = stripes.get(index) ??
    { asOf: now, delta: noDelta, since: 0, success: 0 }
  const { hint, streak } = isCurrent ? delta : noDelta
  const merged = merge(
    aged({ ...before, streak: noStreak }, now - asOf),
    { buckets: [], streak: noStreak, lifetime: past(delta.lifetime), hint }
  )
  const latest = newest(stripes)
  if (streak.sawSuccess) {
    // No other stripe takes this number, though it may not see this one.
    const next = (Math.floor(latest / MOST_STRIPES) + 1) * MOST_STRIPES + index
    return { asOf: now, delta: { ...merged, streak }, since: next, success: next }
  }
  if (streak.trailing === 0) return { asOf: now, delta: { ...merged, streak: before.streak }, since, success }
  const trailing = streak.trailing + (since === latest ? before.streak.trailing : 0)
  return { asOf: now, delta: { ...merged, streak: { ...noStreak, trailing } }, since: latest, success }
}

/** The record of a circuit, with all that its stripes hold. There is none where there was no change and no report. */
export const recordOf = (
  base: CircuitRecord | undefined,
  stripes: Stripes,
  now: number,
  idleTimeToLive: number
): CircuitRecord | undefined => {
  if (stripes.size === 0) return base
  const all = [...stripes.values()]
  const usedAt = Math.max(base?.usedAt ?? 0, ...all.map(({ asOf }) => asOf))
  const record = { ...base ?? created(usedAt), usedAt }
  if (!isWritable(record) || expired(record, idleTimeToLive, now)) return record
  const latest = newest(stripes)
  const trailing = all.reduce((sum, { delta, since }) => since === latest ? sum + delta.streak.trailing : sum, 0)
  const delta = all.reduce((sum, { asOf, delta }) => merge(sum, aged(delta, now - asOf)), noDelta)
  const counted = report(
    record,
    {
      instance: "",
      sequence: 1,
      generation: record.generation,
      delta: { ...delta, streak: { ...noStreak, sawSuccess: latest > 0, trailing } },
      withins: []
    },
    now,
    idleTimeToLive
  )
  return { ...record, ...counted.record, usedAt, seen: record.seen }
}
