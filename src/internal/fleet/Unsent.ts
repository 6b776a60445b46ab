/**
 * What one instance saw of a circuit and the storage has not acknowledged: differences of the circuit's own counts, so that
 * counting costs a call nothing more.
 *
 * One report is under way at a time. Once sent it is frozen, for it may have been counted though nobody said so; what comes in
 * meanwhile goes into the next.
 */
import { widthFor } from "../../core/Buckets.ts"
import { add, aged, type Delta, type LifetimeCounts, merge, noDelta, noLifetimeCounts } from "../../core/Delta.ts"
import type { Circuit } from "../Circuit.ts"

/** A storage keeps no more buckets than these. */
const MOST_BUCKETS = 60

/** A report that was sent: only its ages change until it is acknowledged. */
export interface Pending {
  readonly sequence: number
  readonly delta: Delta
  /** When the delta's ages were right. */
  readonly at: number
  generation: number
}

export class Unsent {
  pending: Pending | undefined = undefined
  readonly #circuit: Circuit
  readonly #withins: ReadonlyArray<number>
  #delta: Delta | undefined = undefined
  /** When the delta's ages were right. */
  #at = 0
  /** When the circuit was last looked at, and what it had counted then. */
  #since: number
  #base: LifetimeCounts = noLifetimeCounts
  #baseStreak = 0
  #hintUntil = 0
  /** Outcomes since then that are no evidence, and the failures before the first success. */
  #asideSuccess = 0
  #asideFailure = 0
  #asideSlow = 0
  #leading = 0

  constructor(circuit: Circuit, withins: ReadonlyArray<number>, now: number) {
    this.#circuit = circuit
    this.#withins = withins
    this.#since = now
  }

  get isEmpty(): boolean {
    return this.pending === undefined && this.#delta === undefined
  }

  /** Whether there is more than what is pending. */
  get hasMore(): boolean {
    return this.#delta !== undefined
  }

  /** Outcomes that nobody has acknowledged: sent, collected, or not looked at yet. */
  get outcomes(): number {
    const inDelta = (delta: Delta | undefined): number =>
      delta === undefined ? 0 : delta.lifetime.success + delta.lifetime.failure
    const { failure, success } = this.#circuit
    const uncut = success - this.#base.success + failure - this.#base.failure
    return inDelta(this.pending?.delta) + inDelta(this.#delta) + uncut
  }

  /** An outcome that counts for the lifetime alone. */
  setAside(failed: boolean, slow: boolean): void {
    if (failed) this.#asideFailure++
    else this.#asideSuccess++
    if (slow) this.#asideSlow++
  }

  /** A success has ended a row of failures. The first since the last look says how many came before it. */
  streakEnds(): void {
    const { streak, success } = this.#circuit
    const isFirst = success - 1 - this.#base.success === this.#asideSuccess
    if (isFirst) this.#leading = streak - this.#baseStreak
  }

  /** Looks at what the circuit has counted since the last time, and says whether there was anything. */
  cut(now: number, epochEnds: boolean): boolean {
    const {
      durations,
      failure,
      hintUntil,
      ignored,
      lastFailureAt,
      lastSuccessAt,
      rejected,
      slow,
      streak,
      success,
      timeout
    } = this.#circuit
    const base = this.#base
    const lifetime = {
      success: success - base.success,
      failure: failure - base.failure,
      ignored: ignored - base.ignored,
      timeout: timeout - base.timeout,
      slow: slow - base.slow,
      rejected: rejected - base.rejected
    }
    const isNews = lifetime.success + lifetime.failure + lifetime.ignored + lifetime.rejected > 0
    if (isNews) {
      const counts = {
        success: lifetime.success - this.#asideSuccess,
        failure: lifetime.failure - this.#asideFailure,
        slow: lifetime.slow - this.#asideSlow
      }
      const sawSuccess = counts.success > 0
      const trailing = sawSuccess ? Math.min(streak, counts.failure) : counts.failure
      this.#add({
        buckets: this.#withins.length > 0 && counts.success + counts.failure > 0
          ? [{ age: Math.max(0, now - this.#since), ...counts }]
          : [],
        streak: { leading: sawSuccess ? this.#leading : trailing, sawSuccess, trailing },
        lifetime: {
          ...lifetime,
          ...(lifetime.success > 0
            ? { lastSuccessAge: Math.max(0, now - lastSuccessAt), lastSuccessDuration: durations?.success }
            : {}),
          ...(lifetime.failure > 0
            ? { lastFailureAge: Math.max(0, now - lastFailureAt), lastFailureDuration: durations?.failure }
            : {})
        },
        hint: hintUntil > this.#hintUntil ? Math.max(0, hintUntil - now) : 0
      }, now)
      this.#base = { failure, ignored, rejected, slow, success, timeout }
      this.#hintUntil = hintUntil
      this.#asideSuccess = this.#asideFailure = this.#asideSlow = 0
    }
    this.#baseStreak = epochEnds ? 0 : streak
    this.#leading = 0
    this.#since = now
    return isNews
  }

  #add(delta: Delta, now: number): void {
    this.#delta = this.#delta === undefined
      ? delta
      : thinned(merge(aged(this.#delta, now - this.#at), delta), widthFor(this.#withins))
    this.#at = now
  }

  /** Freezes what there is, unless something is frozen already. */
  freeze(generation: number, name: () => number): void {
    if (this.pending !== undefined || this.#delta === undefined) return
    this.pending = { sequence: name(), delta: this.#delta, at: this.#at, generation }
    this.#delta = undefined
  }

  /** What was not sent in its own generation is no evidence in the next. */
  forgetEvidence(): void {
    if (this.#delta !== undefined) this.#delta = { ...noDelta, lifetime: this.#delta.lifetime }
    this.#hintUntil = 0
  }
}

/** A delta with no more buckets than a storage would keep apart. */
const thinned = (delta: Delta, width: number | undefined): Delta => {
  if (width === undefined || delta.buckets.length < 2) return delta
  const buckets = delta.buckets.filter(({ age }) => age <= (MOST_BUCKETS + 1) * width)
    .reduce<Array<Delta["buckets"][number]>>((kept, bucket) => {
      const last = kept.at(-1)
      if (last === undefined || last.age - bucket.age >= width) kept.push(bucket)
      else kept[kept.length - 1] = { ...add(last, bucket), age: last.age }
      return kept
    }, [])
  return { ...delta, buckets }
}
