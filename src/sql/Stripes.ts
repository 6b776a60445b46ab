/**
 * The reports of a circuit since its last change are kept in a few rows, its *stripes*, so that instances that report
 * at once do not wait for one row. An instance always reports to the same stripe. A stripe holds all of its reports as
 * one delta, as of the last of them, and their counts in buckets of time. So a window is as many rows as there are stripes,
 * and not one for each bucket. The record of the circuit with all stripes added is the record of the core.
 *
 * **Invariants**
 *
 * - Sums need no order, but a streak does: a success ends it, whichever stripe the success came by. So each report with
 *   a success takes a number above all numbers that it sees, and each stripe says under which success its failures were
 *   counted. The streak of the circuit is the sum of the failures counted under the newest success.
 * - No two stripes take the same number: it is their own index modulo `MOST_STRIPES`.
 * - A report of failures that does not see a success, because both are committed at the same time, comes before it.
 */
import { addCounts, type Bucket, MOST_BUCKETS } from "../core/Buckets.ts"
import {
  aged,
  type Delta,
  type LastCalls,
  type LifetimeCounts,
  type LifetimeDelta,
  merge,
  noDelta,
  noStreak,
  type Streak
} from "../core/Delta.ts"
import { type CircuitRecord, created, expired, isWritable } from "../core/Record.ts"
import { type Report, report } from "../core/Report.ts"
import type { StorageMillis } from "../core/Time.ts"
import { bucketsOf, type StripeWindow, windowOf } from "./StripeWindow.ts"

export interface Stripe {
  /** The storage's clock at the last report. */
  readonly asOf: StorageMillis
  /** The sum of all reports, as of then; `streak.trailing` are the failures since the success `since`. */
  readonly delta: Delta
  /** The number of the success under which the failures are counted; 0 for none. */
  readonly since: number
  /** The number of this stripe's own last success; 0 for none. */
  readonly success: number
  /** The counts of its reports of this generation. Some may be too old to count. */
  readonly window: StripeWindow
  /** An id that reports keep and a change replaces. Absent before the first report, and where an earlier version wrote. */
  readonly base?: string | undefined
}

/** A stripe without reports, which a change leaves. */
export const emptied = (nowMillis: StorageMillis): Stripe => ({
  asOf: nowMillis,
  delta: noDelta,
  since: 0,
  success: 0,
  window: []
})

export type Stripes = ReadonlyMap<number, Stripe>

/** The stripes of a circuit in a database with many writers. */
export const MOST_STRIPES = 8

/** The stripe of an instance. */
export const stripeOf = (instance: string, stripes: number): number => {
  let hash = 0
  for (let i = 0; i < instance.length; i++) hash = (Math.imul(hash, 31) + instance.charCodeAt(i)) | 0
  return (hash >>> 0) % stripes
}

const newestSuccess = (stripes: Stripes): number => Math.max(0, ...[...stripes.values()].map(({ success }) => success))

/** An age below zero comes from a clock that was set back: no call ended in the future. */
const withoutFuture = (lifetime: LifetimeDelta): LifetimeDelta => {
  const { lastFailureAge, lastSuccessAge } = lifetime
  return {
    ...lifetime,
    ...lastSuccessAge === undefined ? {} : { lastSuccessAge: Math.max(0, lastSuccessAge) },
    ...lastFailureAge === undefined ? {} : { lastFailureAge: Math.max(0, lastFailureAge) }
  }
}

/** So many buckets are removed at once. */
export const REMOVED = 15

/**
 * The buckets that are too old to count, and are not removed yet. A stripe that lost one bucket with each second would be another
 * text from end to end each time, and Postgres would log all of it.
 */
const notRemoved = (window: ReadonlyArray<Bucket>, nowMillis: number): ReadonlyArray<Bucket> =>
  window.filter(({ index, width }) => {
    const old = Math.floor(nowMillis / width) - MOST_BUCKETS
    return index <= old && index >= old - old % REMOVED
  })

/** The stripe with a report added. A report of an older generation counts for the lifetime alone. */
export const enter = (
  stripes: Stripes,
  index: number,
  { delta, withins }: Pick<Report, "delta" | "withins">,
  isCurrent: boolean,
  nowMillis: number
): Stripe => {
  const { asOf, base, delta: before, since, success, window: stored } = stripes.get(index) ?? emptied(nowMillis)
  const former = bucketsOf([stored])
  const counted = addCounts(former, isCurrent ? delta.buckets : [], withins, nowMillis)
  const window = windowOf([...notRemoved(former, nowMillis), ...counted])
  const { hint, streak } = isCurrent ? delta : noDelta
  const merged = merge(
    aged({ ...before, streak: noStreak }, nowMillis - asOf),
    { buckets: [], streak: noStreak, lifetime: withoutFuture(delta.lifetime), hint }
  )
  const newest = newestSuccess(stripes)
  if (streak.sawSuccess) {
    const next = (Math.floor(newest / MOST_STRIPES) + 1) * MOST_STRIPES + index
    return { asOf: nowMillis, delta: { ...merged, streak }, since: next, success: next, window, base }
  }
  if (streak.trailing === 0) {
    return { asOf: nowMillis, delta: { ...merged, streak: before.streak }, since, success, window, base }
  }
  const trailing = streak.trailing + (since === newest ? before.streak.trailing : 0)
  return {
    asOf: nowMillis,
    delta: { ...merged, streak: { ...noStreak, trailing } },
    since: newest,
    success,
    window,
    base
  }
}

/** The addition of a report to its stripe, for a database that adds it where others have reported to the stripe meanwhile. */
export interface Addition {
  /** The stripe's own when it was read: with another one, a change came between. */
  readonly base: string
  readonly asOf: StorageMillis
  /** The number of the newest success that the report sees. */
  readonly newest: number
  readonly streak: Streak
  readonly counts: LifetimeCounts
  readonly last: LastCalls
  readonly bucket?: Bucket | undefined
}

/** `undefined` for a report that only `enter` adds: one with a hint, with several buckets, or with calls that were shed. */
export const additionOf = (
  stripes: Stripes,
  index: number,
  { delta, withins }: Pick<Report, "delta" | "withins">,
  isCurrent: boolean,
  nowMillis: StorageMillis
): Addition | undefined => {
  const base = stripes.get(index)?.base
  const { buckets, hint, streak } = isCurrent ? delta : noDelta
  const [bucket, ...others] = addCounts([], buckets, withins, nowMillis)
  if (base === undefined || hint > 0 || others.length > 0 || bucket?.shed !== undefined) return undefined
  const { lastFailureAge, lastFailureDuration, lastSuccessAge, lastSuccessDuration, ...counts } = withoutFuture(
    delta.lifetime
  )
  const last = { lastFailureAge, lastFailureDuration, lastSuccessAge, lastSuccessDuration }
  return { base, asOf: nowMillis, newest: newestSuccess(stripes), streak, counts, last, bucket }
}

/** The record of a circuit with its stripes added; `undefined` for a circuit without a change or a report. */
export const recordOf = (
  base: CircuitRecord | undefined,
  stripes: Stripes,
  nowMillis: number,
  idleMillis: number
): CircuitRecord | undefined => {
  if (stripes.size === 0) return base
  const all = [...stripes.values()]
  const usedAt = Math.max(base?.usedAt ?? 0, ...all.map(({ asOf }) => asOf))
  const record = { ...base ?? created(usedAt), usedAt }
  if (!isWritable(record) || expired(record, idleMillis, nowMillis)) return record
  // Later than now if the server's clock was set back: the stripes are added as of the last of them.
  const atMillis = Math.max(nowMillis, usedAt)
  const newest = newestSuccess(stripes)
  const trailing = all.reduce((sum, { delta, since }) => since === newest ? sum + delta.streak.trailing : sum, 0)
  const delta = all.reduce((sum, { asOf, delta }) => merge(sum, aged(delta, atMillis - asOf)), noDelta)
  const counted = report(
    record,
    {
      instance: "",
      sequence: 1,
      generation: record.generation,
      delta: { ...delta, streak: { ...noStreak, sawSuccess: newest > 0, trailing } },
      withins: []
    },
    atMillis,
    idleMillis
  )
  const window = [...record.window, ...bucketsOf(all.map(({ window }) => window))]
  return { ...record, ...counted.record, usedAt, seen: record.seen, window }
}
