/**
 * The outcomes of one circuit that the storage has not acknowledged. They are differences of counts that the circuit keeps
 * anyway, so that counting costs a call nothing more.
 *
 * **Invariants**
 *
 * - One report is in flight at a time (`pending`). Once sent it is frozen, because the storage may have counted it though no
 *   answer came. Only its ages go on.
 * - All other outcomes up to the last collection are in `#delta`, and the rest are what the circuit has counted beyond `#base`.
 *   No outcome is in two of the three.
 * - Evidence in `#delta` is of the generation that is known: `lifetimeOnly` drops it when a newer one is adopted.
 * - The ages are by this process's clock, which stands still while its machine sleeps. `asOf` says by the storage's clock when
 *   they were right, so that the storage itself sees how late a report is.
 */
import { widthsFor } from "../../core/Buckets.ts"
import {
  add,
  aged,
  type Delta,
  type LifetimeCounts,
  merge,
  noCounts,
  noDelta,
  noLifetimeCounts,
  shedCalls
} from "../../core/Delta.ts"
import type { LocalMillis, StorageMillis } from "../../core/Time.ts"
import type { Counted } from "./Fleet.ts"

/** A storage keeps no more buckets of one width than these. */
const MOST_BUCKETS = 60

/** The most buckets of a report of a healthy circuit, because a storage works as long on one as on the rest of the report. */
const LAZY_BUCKETS = 10

/** A report that was sent: only its ages change until it is acknowledged. */
export interface Pending {
  readonly sequence: number
  readonly delta: Delta
  /** When the delta's ages were right, by both clocks. */
  readonly at: LocalMillis
  readonly asOf: StorageMillis | undefined
  generation: number
}

export class Outbox {
  pending: Pending | undefined = undefined
  #withins: ReadonlyArray<number>
  #delta: Delta | undefined = undefined
  /** When the delta's ages were right. */
  #at: LocalMillis = 0
  /** When counts were last collected, and the counts of then. */
  #collectedAt: LocalMillis
  #base: LifetimeCounts & Pick<Counted, "shed"> = { ...noLifetimeCounts, shed: 0 }
  #baseStreak = 0
  #baseHintUntil: LocalMillis = 0
  /** Outcomes since then that are no evidence, and the failures before the first success. */
  #otherSuccess = 0
  #otherFailure = 0
  #otherSlow = 0
  #leading = 0

  constructor(withins: ReadonlyArray<number>, now: LocalMillis) {
    this.#withins = withins
    this.#collectedAt = now
  }

  /** The policy looks back over other spans. What was counted so far is collected as the one before says. */
  lookBack(withins: ReadonlyArray<number>, counted: Counted, now: LocalMillis): boolean {
    const isNew = this.collect(counted, now)
    this.#withins = withins
    return isNew
  }

  get isEmpty(): boolean {
    return this.pending === undefined && this.#delta === undefined
  }

  /** All outcomes up to the last collection that are not acknowledged, with their ages of now. */
  unacknowledged(now: LocalMillis): Delta | undefined {
    const { pending } = this
    const older = pending === undefined ? undefined : aged(pending.delta, now - pending.at)
    const newer = this.#delta === undefined ? undefined : aged(this.#delta, now - this.#at)
    return older === undefined || newer === undefined ? older ?? newer : merge(older, newer)
  }

  /** Whether there is more than the pending report. */
  get hasMore(): boolean {
    return this.#delta !== undefined
  }

  /** Outcomes that are not acknowledged: pending, collected, or only counted by the circuit. */
  outcomes({ failure, success }: LifetimeCounts): number {
    const inDelta = (delta: Delta | undefined): number =>
      delta === undefined ? 0 : delta.lifetime.success + delta.lifetime.failure
    const uncollected = success - this.#base.success + failure - this.#base.failure
    return inDelta(this.pending?.delta) + inDelta(this.#delta) + uncollected
  }

  /** An outcome was counted that changes the lifetime counts and is no evidence. */
  notEvidence(failed: boolean, slow: boolean): void {
    if (failed) this.#otherFailure++
    else this.#otherSuccess++
    if (slow) this.#otherSlow++
  }

  /** A success ended a streak of `length`. The first since the last collection fixes how many failures came before it. */
  streakEnded(length: number, successes: number): void {
    const isFirst = successes - this.#base.success === this.#otherSuccess
    if (isFirst) this.#leading = length - this.#baseStreak
  }

  // -----------------------------------------------------------------------------
  // collecting: each returns whether there was anything new
  // -----------------------------------------------------------------------------

  /** In the middle of an epoch. */
  collect(counted: Counted, now: LocalMillis): boolean {
    const isNew = this.#collect(counted, now)
    this.#baseStreak = counted.streak
    return isNew
  }

  /** The instance ended the epoch by itself: its outcomes are evidence of the generation that is still known. */
  epochEnded(ended: Counted, now: LocalMillis): boolean {
    const isNew = this.#collect(ended, now)
    this.#baseStreak = 0
    return isNew
  }

  /** A newer generation ended the epoch. Outcomes that were admitted in the older one and are not sent count for the lifetime alone. */
  lifetimeOnly(ended: Counted, now: LocalMillis): boolean {
    const isNew = this.epochEnded(ended, now)
    if (this.#delta !== undefined) this.#delta = { ...noDelta, lifetime: this.#delta.lifetime }
    this.#baseHintUntil = 0
    return isNew
  }

  #collect(counted: Counted, now: LocalMillis): boolean {
    const { failure, ignored, rejected, shed, slow, success, timeout } = counted
    const base = this.#base
    const lifetime = {
      success: success - base.success,
      failure: failure - base.failure,
      ignored: ignored - base.ignored,
      timeout: timeout - base.timeout,
      slow: slow - base.slow,
      rejected: rejected - base.rejected
    }
    const isNew = lifetime.success + lifetime.failure + lifetime.ignored + lifetime.rejected > 0
    if (isNew) {
      this.#add(this.#deltaOf(lifetime, counted, now), now)
      this.#base = { failure, ignored, rejected, shed, slow, success, timeout }
      this.#baseHintUntil = counted.hintUntil
      this.#otherSuccess = this.#otherFailure = this.#otherSlow = 0
    }
    this.#leading = 0
    this.#collectedAt = now
    return isNew
  }

  #deltaOf(
    lifetime: LifetimeCounts,
    { hintUntil, lastFailureAt, lastFailureMillis, lastSuccessAt, lastSuccessMillis, shed, streak }: Counted,
    now: LocalMillis
  ): Delta {
    const counts = {
      success: lifetime.success - this.#otherSuccess,
      failure: lifetime.failure - this.#otherFailure,
      slow: lifetime.slow - this.#otherSlow,
      ...shedCalls(shed - this.#base.shed)
    }
    const age = (at: LocalMillis): number => Math.max(0, now - at)
    const sawSuccess = counts.success > 0
    const trailing = sawSuccess ? Math.min(streak, counts.failure) : counts.failure
    return {
      buckets: this.#withins.length > 0 && counts.success + counts.failure + (counts.shed ?? 0) > 0
        ? [{ age: age(this.#collectedAt), ...counts }]
        : [],
      streak: { leading: sawSuccess ? this.#leading : trailing, sawSuccess, trailing },
      lifetime: {
        ...lifetime,
        ...(lifetime.success > 0
          ? { lastSuccessAge: age(lastSuccessAt), lastSuccessDuration: lastSuccessMillis }
          : {}),
        ...(lifetime.failure > 0
          ? { lastFailureAge: age(lastFailureAt), lastFailureDuration: lastFailureMillis }
          : {})
      },
      hint: hintUntil > this.#baseHintUntil ? Math.max(0, hintUntil - now) : 0
    }
  }

  #add(delta: Delta, now: LocalMillis): void {
    this.#delta = this.#delta === undefined
      ? delta
      : thinned(merge(aged(this.#delta, now - this.#at), delta), widthsFor(this.#withins))
    this.#at = now
  }

  /** This process slept for so long, in which its clock stood still: what it has counted is older than it seemed. */
  slept(millis: number, counted: Counted, now: LocalMillis): void {
    this.collect(counted, now)
    if (this.#delta !== undefined) this.#delta = aged(this.#delta, millis)
  }

  /**
   * Freezes what was collected as the next report, unless one is pending. `storageTime` gives the storage's clock at a local
   * time.
   */
  freeze(
    generation: number,
    nextSequence: () => number,
    storageTime: (at: LocalMillis) => StorageMillis | undefined,
    isLazy = false
  ): void {
    if (this.pending !== undefined || this.#delta === undefined) return
    const at = this.#at
    const delta = isLazy ? coarser(this.#delta) : this.#delta
    this.pending = { sequence: nextSequence(), delta, at, asOf: storageTime(at), generation }
    this.#delta = undefined
  }
}

/** A delta with at most `LAZY_BUCKETS`, each as old as the oldest outcome in it. */
const coarser = (delta: Delta): Delta => {
  const { buckets } = delta
  if (buckets.length <= LAZY_BUCKETS) return delta
  const oldest = buckets[0]!.age
  const widthMillis = (oldest - buckets.at(-1)!.age) / (LAZY_BUCKETS - 1)
  const groups = Map.groupBy(buckets, ({ age }) => Math.floor((oldest - age) / widthMillis))
  return {
    ...delta,
    buckets: [...groups.values()].map((group) => ({
      ...group.reduce((sum, bucket) => add(sum, bucket), noCounts),
      age: group[0]!.age
    }))
  }
}

/** A delta with no more buckets than a storage would keep apart: only young ones are counted in narrow buckets. */
const thinned = (delta: Delta, widths: ReadonlyArray<number>): Delta => {
  if (widths.length === 0 || delta.buckets.length < 2) return delta
  const buckets = delta.buckets.reduce<Array<Delta["buckets"][number]>>((kept, bucket) => {
    const widthMillis = widths.find((width) => bucket.age <= (MOST_BUCKETS + 1) * width)
    if (widthMillis === undefined) return kept
    const last = kept.at(-1)
    if (last === undefined || last.age - bucket.age >= widthMillis) kept.push(bucket)
    else kept[kept.length - 1] = { ...add(last, bucket), age: last.age }
    return kept
  }, [])
  return { ...delta, buckets }
}
