/**
 * Sliding windows: O(1) per call, fixed memory, correct after idle gaps of any length. Both keep running totals and
 * subtract the calls that leave ("subtract on evict", as resilience4j's sliding windows do), so reading the totals
 * costs nothing.
 *
 * A time window is a ring of `BUCKETS` buckets, each `within / BUCKETS` long: a call never counts once it is `within`
 * old, and leaves at most one bucket early. A count window is a ring of the last `calls` outcomes.
 */
import type { Plan } from "./Plan.ts"
import type { LocalMillis } from "./Time.ts"
import { type RuleWindow, sameWindow, type Totals } from "./TripRule.ts"

/** The number of buckets in a time window. */
export const BUCKETS = 60

/**
 * A window of either kind. `now` is in milliseconds and never goes backwards. The windows of one rule are a linked
 * list, because most rules have one window, and an array for it would be a tenth of its memory.
 */
export interface Window extends Totals {
  readonly next: Window | undefined
  readonly shed: number
  readonly record: (now: LocalMillis, failed: boolean, slow: boolean) => void
  /** Counts a call that was shed, in a window that counts them. */
  readonly recordShed: (now: LocalMillis) => void
  /** Drops the calls that have become too old by `now`. */
  readonly advance: (now: LocalMillis) => void
  /** The same window with its calls, in the list of a changed plan. Without `keepsSlow` none of them counts as slow. */
  readonly resumed: (next: Window | undefined, counted: Counted, keepsSlow: boolean) => Window
}

/** The counts of a time window: two rings for successes and failures, three with slow calls, and four with calls that were shed. */
export type Counted = 2 | 3 | 4

/** The parts of a plan that say what its windows count. */
type Counting = Pick<Plan, "slowerThanMillis" | "throttle">

export const countedIn = (window: RuleWindow, { slowerThanMillis, throttle }: Counting): Counted =>
  throttle !== undefined && sameWindow(window, throttle.window) ? 4 : slowerThanMillis === undefined ? 2 : 3

/** Empty windows, in the order of the plan's. */
export const makeWindows = (plan: Counting & Pick<Plan, "windows">): Window | undefined =>
  plan.windows.reduceRight<Window | undefined>(
    (next, window) => makeWindow(window, countedIn(window, plan), next),
    undefined
  )

/** An empty window before those of `next`. */
export const makeWindow = (window: RuleWindow, counted: Counted, next: Window | undefined): Window =>
  window._tag === "Within"
    ? new TimeWindow(window.duration, counted, next)
    : new CountWindow(window.calls, next)

/** The index of a time window's first ring, of that of slow calls, and of that of calls that were shed. */
const RINGS = 4
const SLOW_RING = RINGS + 2 * BUCKETS
const SHED_RING = RINGS + 3 * BUCKETS

/** The bits that a count window keeps of a call. */
const FAILURE = 1
const SLOW = 2
const RECORDED = 4

class TimeWindow implements Window {
  readonly next: Window | undefined
  readonly #within: number
  /** The four totals, then one ring after the other: successes, failures and, where they are counted, slow calls and shed ones. */
  readonly #counts: Uint32Array
  /** The number of the newest bucket, counted from time zero. */
  #newest = 0

  constructor(within: number, counted: Counted, next: Window | undefined) {
    this.next = next
    this.#within = within
    this.#counts = new Uint32Array(RINGS + counted * BUCKETS)
  }

  get success(): number {
    return this.#counts[0]!
  }

  get failure(): number {
    return this.#counts[1]!
  }

  get slow(): number {
    return this.#counts[2]!
  }

  get shed(): number {
    return this.#counts[3]!
  }

  record(now: LocalMillis, failed: boolean, slow: boolean): void {
    this.advance(now)
    const counts = this.#counts
    const kind = failed ? 1 : 0
    const bucket = RINGS + this.#newest % BUCKETS
    counts[kind]!++
    counts[bucket + kind * BUCKETS]!++
    if (slow && counts.length > SLOW_RING) {
      counts[2]!++
      counts[bucket + 2 * BUCKETS]!++
    }
  }

  recordShed(now: LocalMillis): void {
    this.advance(now)
    this.#counts[3]!++
    this.#counts[SHED_RING + this.#newest % BUCKETS]!++
  }

  advance(now: LocalMillis): void {
    // Multiply first: for whole milliseconds the quotient is then exact at every boundary, so a call leaves on time.
    const newest = Math.floor((now * BUCKETS) / this.#within)
    if (newest <= this.#newest) return
    const counts = this.#counts
    for (let bucket = Math.max(this.#newest + 1, newest - BUCKETS + 1); bucket <= newest; bucket++) {
      for (let at = RINGS + bucket % BUCKETS, kind = 0; at < counts.length; at += BUCKETS, kind++) {
        counts[kind]! -= counts[at]!
        counts[at] = 0
      }
    }
    this.#newest = newest
  }

  resumed(next: Window | undefined, counted: Counted, keepsSlow: boolean): Window {
    const window = new TimeWindow(this.#within, counted, next)
    const counts = window.#counts
    counts.set(this.#counts.subarray(0, Math.min(counts.length, this.#counts.length)))
    if (!keepsSlow) {
      counts[2] = 0
      counts.fill(0, SLOW_RING, SHED_RING)
    }
    if (counts.length <= SHED_RING) counts[3] = 0
    window.#newest = this.#newest
    return window
  }
}

class CountWindow implements Window {
  readonly next: Window | undefined
  success = 0
  failure = 0
  slow = 0
  readonly shed = 0
  readonly #ring: Uint8Array
  #next = 0

  constructor(calls: number, next: Window | undefined) {
    this.next = next
    this.#ring = new Uint8Array(calls)
  }

  record(_now: LocalMillis, failed: boolean, slow: boolean): void {
    const left = this.#ring[this.#next]!
    if (left !== 0) this.#count(left, -1)
    const outcome = RECORDED | (failed ? FAILURE : 0) | (slow ? SLOW : 0)
    this.#ring[this.#next] = outcome
    this.#count(outcome, 1)
    this.#next = (this.#next + 1) % this.#ring.length
  }

  advance(): void {}

  // A throttle looks at a time window.
  recordShed(): void {}

  resumed(next: Window | undefined, _counted: Counted, keepsSlow: boolean): Window {
    const window = new CountWindow(this.#ring.length, next)
    window.success = this.success
    window.failure = this.failure
    window.slow = keepsSlow ? this.slow : 0
    window.#ring.set(keepsSlow ? this.#ring : this.#ring.map((outcome) => outcome & ~SLOW))
    window.#next = this.#next
    return window
  }

  #count(outcome: number, by: number): void {
    if ((outcome & FAILURE) === 0) this.success += by
    else this.failure += by
    if ((outcome & SLOW) !== 0) this.slow += by
  }
}
