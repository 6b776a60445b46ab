/**
 * The outcomes that one instance saw of a circuit since its last report, in a form that can be merged.
 *
 * Counts add, streaks merge as a monoid, and times are *ages* (milliseconds before the moment of sending), because no
 * two machines agree on a clock. Everything is plain JSON and immutable.
 */

/** The calls of a span of time: successes, failures, and how many of both were slow. */
export interface Counts {
  readonly success: number
  readonly failure: number
  readonly slow: number
  /** Calls that throttling has shed. Absent where there was none, as earlier versions had it. */
  readonly shed?: number | undefined
}

export const noCounts: Counts = { success: 0, failure: 0, slow: 0 }

export const add = (a: Counts, b: Counts): Counts => ({
  success: a.success + b.success,
  failure: a.failure + b.failure,
  slow: a.slow + b.slow,
  ...shedCalls((a.shed ?? 0) + (b.shed ?? 0))
})

export const shedCalls = (shed: number): Pick<Counts, "shed"> => shed === 0 ? {} : { shed }

/**
 * The consecutive failures of a sequence of outcomes: how many failures come before its first success, whether there is
 * a success, and how many failures come after its last. Without a success both numbers are the number of failures.
 *
 * A run of failures between two successes of one instance is left out, because that instance has judged it by itself.
 */
export interface Streak {
  readonly leading: number
  readonly sawSuccess: boolean
  readonly trailing: number
}

/** The streak of no outcomes: the identity of `concat`. */
export const noStreak: Streak = { leading: 0, sawSuccess: false, trailing: 0 }

/** The streak of two sequences, one after the other. Associative. */
export const concat = (earlier: Streak, later: Streak): Streak => ({
  leading: earlier.sawSuccess ? earlier.leading : earlier.leading + later.leading,
  sawSuccess: earlier.sawSuccess || later.sawSuccess,
  trailing: extendRun(earlier.trailing, later)
})

/** The length of a run of failures after the outcomes of `later`. */
export const extendRun = (run: number, later: Streak): number =>
  later.sawSuccess ? later.trailing : run + later.trailing

/** The streak of outcomes in the order in which the calls ended; `true` is a failure. Leave ignored outcomes out. */
export const streakOf = (failed: ReadonlyArray<boolean>): Streak => {
  const first = failed.indexOf(false)
  return first === -1
    ? { leading: failed.length, sawSuccess: false, trailing: failed.length }
    : { leading: first, sawSuccess: true, trailing: failed.length - 1 - failed.lastIndexOf(false) }
}

/** The calls of one span of time, which began `age` ago. */
export interface AgedCounts extends Counts {
  readonly age: number
}

/** Lifetime counts, which only grow. A timeout also counts as a failure; a rejected call counts as nothing else. */
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

/** How long ago the last success and the last failure ended, and how long they took where that was measured. */
export interface LastCalls {
  readonly lastSuccessAge?: number | undefined
  readonly lastSuccessDuration?: number | undefined
  readonly lastFailureAge?: number | undefined
  readonly lastFailureDuration?: number | undefined
}

/** The part of a report that enters the lifetime statistics. */
export interface LifetimeDelta extends LifetimeCounts, LastCalls {}

/** The outcomes that an instance saw. All ages and the hint are as of one moment; `aged` moves them to a later one. */
export interface Delta {
  /** Oldest first, no two of the same age. */
  readonly buckets: ReadonlyArray<AgedCounts>
  readonly streak: Streak
  readonly lifetime: LifetimeDelta
  /** Remaining time of the longest `retryAfter` of a failure; 0 if there was none. */
  readonly hint: number
}

/** The delta of no outcomes: the identity of `merge`. */
export const noDelta: Delta = { buckets: [], streak: noStreak, lifetime: noLifetimeCounts, hint: 0 }

/** Merges two deltas as of the same moment. All outcomes of the first ended before those of the second. Associative. */
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

/** The one of two that holds the later call; the second where both ended at once. */
const younger = (key: AgeKey, a: LastCalls, b: LastCalls): LastCalls =>
  (b[key] ?? Infinity) <= (a[key] ?? Infinity) ? b : a

const lastCall = (age: AgeKey, duration: DurationKey, calls: LastCalls, by = 0): LastCalls => ({
  ...(calls[age] === undefined ? {} : { [age]: calls[age] + by }),
  ...(calls[duration] === undefined ? {} : { [duration]: calls[duration] })
})

/**
 * The same delta, sent `by` milliseconds later. A report in doubt is sent again with the same counts, but with greater
 * ages: else every retry would make its outcomes younger.
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

/** Whether a report of this delta only reads. The hint need not be checked, because it comes with a failure. */
export const isEmpty = ({ buckets, lifetime, streak }: Delta): boolean =>
  !streak.sawSuccess && streak.trailing === 0 &&
  buckets.every(({ failure, shed = 0, slow, success }) => success + failure + slow + shed === 0) &&
  lifetime.success + lifetime.failure + lifetime.ignored + lifetime.timeout + lifetime.slow + lifetime.rejected === 0
