/**
 * What one instance saw of a circuit since its last report, in a form that adds up.
 *
 * Counts add, a streak of failures merges as a monoid, and times are *ages* (milliseconds before the moment of sending), for
 * no two machines agree on a clock. Everything is plain JSON, and nothing here is changed in place.
 */

/** Calls of a span of time that succeeded, that failed, and how many of both were slow. */
export interface Counts {
  readonly success: number
  readonly failure: number
  readonly slow: number
}

export const noCounts: Counts = { success: 0, failure: 0, slow: 0 }

export const add = (a: Counts, b: Counts): Counts => ({
  success: a.success + b.success,
  failure: a.failure + b.failure,
  slow: a.slow + b.slow
})

/**
 * A sequence of outcomes, as far as rows of failures go: how many failures come before its first success, whether there is a
 * success, and how many failures come after its last. Without a success both numbers are the length of the row.
 *
 * A row that lies between two successes of one instance is not in it: that instance has judged it by itself.
 */
export interface Streak {
  readonly leading: number
  readonly sawSuccess: boolean
  readonly trailing: number
}

/** The streak of no outcomes: nothing changes by `concat` with it. */
export const noStreak: Streak = { leading: 0, sawSuccess: false, trailing: 0 }

/** The streak of two sequences, one after the other. Associative. */
export const concat = (earlier: Streak, later: Streak): Streak => ({
  leading: earlier.sawSuccess ? earlier.leading : earlier.leading + later.leading,
  sawSuccess: earlier.sawSuccess || later.sawSuccess,
  trailing: extendRun(earlier.trailing, later)
})

/** A row of `run` failures and what follows it: how long the row is now. */
export const extendRun = (run: number, later: Streak): number =>
  later.sawSuccess ? later.trailing : run + later.trailing

/** The streak of outcomes in the order in which the calls ended, `true` for a failure. Ignored outcomes are left out. */
export const streakOf = (failed: ReadonlyArray<boolean>): Streak => {
  const first = failed.indexOf(false)
  return first === -1
    ? { leading: failed.length, sawSuccess: false, trailing: failed.length }
    : { leading: first, sawSuccess: true, trailing: failed.length - 1 - failed.lastIndexOf(false) }
}

/** The calls of one stretch of time. `age`: how long ago it began. */
export interface AgedCounts extends Counts {
  readonly age: number
}

/** Lifetime counts, from which nothing is ever dropped. Timeouts are failures, too; rejected calls are nothing else. */
export interface LifetimeCounts {
  readonly success: number
  readonly failure: number
  readonly ignored: number
  readonly timeout: number
  readonly slow: number
  readonly rejected: number
}

export const noLifetimeCounts: LifetimeCounts = { success: 0, failure: 0, ignored: 0, timeout: 0, slow: 0, rejected: 0 }

export const addLifetime = (a: LifetimeCounts, b: LifetimeCounts): LifetimeCounts => ({
  success: a.success + b.success,
  failure: a.failure + b.failure,
  ignored: a.ignored + b.ignored,
  timeout: a.timeout + b.timeout,
  slow: a.slow + b.slow,
  rejected: a.rejected + b.rejected
})

/** How long ago the last calls of both kinds ended, and how long they took, where that was measured. */
export interface LastCalls {
  readonly lastSuccessAge?: number | undefined
  readonly lastSuccessDuration?: number | undefined
  readonly lastFailureAge?: number | undefined
  readonly lastFailureDuration?: number | undefined
}

/** What a report adds to the lifetime statistics. */
export interface LifetimeDelta extends LifetimeCounts, LastCalls {}

/** What an instance saw. All ages, and the hint's rest, are as of one moment; `aged` moves that on. */
export interface Delta {
  /** Oldest first, no age twice. */
  readonly buckets: ReadonlyArray<AgedCounts>
  readonly streak: Streak
  readonly lifetime: LifetimeDelta
  /** For how much longer the longest `retryAfter` of a failure holds; 0 where there was none. */
  readonly hint: number
}

/** Nothing seen: nothing changes by `merge` with it. */
export const noDelta: Delta = { buckets: [], streak: noStreak, lifetime: noLifetimeCounts, hint: 0 }

/** Two deltas as of the same moment, all outcomes of the first before those of the second. Associative; loses nothing. */
export const merge = (earlier: Delta, later: Delta): Delta => ({
  buckets: mergeBuckets([...earlier.buckets, ...later.buckets]),
  streak: concat(earlier.streak, later.streak),
  lifetime: {
    ...addLifetime(earlier.lifetime, later.lifetime),
    ...lastCall("lastSuccessAge", "lastSuccessDuration", younger("lastSuccessAge", earlier.lifetime, later.lifetime)),
    ...lastCall("lastFailureAge", "lastFailureDuration", younger("lastFailureAge", earlier.lifetime, later.lifetime))
  },
  hint: Math.max(earlier.hint, later.hint)
})

const mergeBuckets = (buckets: ReadonlyArray<AgedCounts>): ReadonlyArray<AgedCounts> =>
  buckets.toSorted((a, b) => b.age - a.age).reduce<Array<AgedCounts>>((merged, bucket) => {
    const last = merged.at(-1)
    if (last?.age === bucket.age) merged[merged.length - 1] = { ...add(last, bucket), age: last.age }
    else merged.push(bucket)
    return merged
  }, [])

type AgeKey = "lastSuccessAge" | "lastFailureAge"
type DurationKey = "lastSuccessDuration" | "lastFailureDuration"

/** Of two, what the later call is in; the second where they ended at once. */
const younger = (key: AgeKey, a: LastCalls, b: LastCalls): LastCalls =>
  (b[key] ?? Infinity) <= (a[key] ?? Infinity) ? b : a

const lastCall = (age: AgeKey, duration: DurationKey, calls: LastCalls, by = 0): LastCalls => ({
  ...(calls[age] === undefined ? {} : { [age]: calls[age] + by }),
  ...(calls[duration] === undefined ? {} : { [duration]: calls[duration] })
})

/**
 * The same delta, sent `by` milliseconds later. A report in doubt is sent again with its counts frozen; its ages are not, or
 * every retry would make its outcomes younger.
 */
export const aged = (delta: Delta, by: number): Delta => ({
  buckets: delta.buckets.map((bucket) => ({ ...bucket, age: bucket.age + by })),
  streak: delta.streak,
  lifetime: {
    ...delta.lifetime,
    ...lastCall("lastSuccessAge", "lastSuccessDuration", delta.lifetime, by),
    ...lastCall("lastFailureAge", "lastFailureDuration", delta.lifetime, by)
  },
  hint: Math.max(0, delta.hint - by)
})

/** Whether a report of this would be a pure read. A hint comes with the failure that gave it, so it is not asked for. */
export const isEmpty = ({ buckets, lifetime, streak }: Delta): boolean =>
  !streak.sawSuccess && streak.trailing === 0 &&
  buckets.every(({ failure, slow, success }) => success + failure + slow === 0) &&
  lifetime.success + lifetime.failure + lifetime.ignored + lifetime.timeout + lifetime.slow + lifetime.rejected === 0
