/**
 * Sliding windows: O(1) per call, fixed memory, correct after idle gaps of any length. Both keep running totals and
 * subtract the calls that leave ("subtract on evict", as resilience4j's sliding windows do), so reading the totals
 * costs nothing.
 *
 * A time window is a ring of `BUCKETS` buckets, each `within / BUCKETS` long: a call never counts once it is `within`
 * old, and leaves at most one bucket early. A count window is a ring of the last `calls` outcomes.
 */
import type { LocalMillis } from "./Time.ts"
import type { RuleWindow, Totals } from "./TripRule.ts"

/** The number of buckets in a time window. */
export const BUCKETS = 60

/**
 * A window of either kind. `now` is in milliseconds and never goes backwards. The windows of one rule are a linked
 * list, because most rules have one window, and an array for it would be a tenth of its memory.
 */
export interface Window extends Totals {
  readonly next: Window | undefined
  readonly record: (now: LocalMillis, failed: boolean, slow: boolean) => void
  /** Drops the calls that have become too old by `now`. */
  readonly advance: (now: LocalMillis) => void
  /** The same window with its calls, in the list of a changed rule. Without `keepsSlow` none of them counts as slow. */
  readonly resumed: (next: Window | undefined, countsSlow: boolean, keepsSlow: boolean) => Window
}

/** Empty windows, in the order given. With `countsSlow: false` a time window has no ring of slow calls. */
export const makeWindows = (windows: ReadonlyArray<RuleWindow>, countsSlow: boolean): Window | undefined =>
  windows.reduceRight<Window | undefined>((next, window) => makeWindow(window, countsSlow, next), undefined)

/** An empty window before those of `next`. */
export const makeWindow = (window: RuleWindow, countsSlow: boolean, next: Window | undefined): Window =>
  window._tag === "Within"
    ? new TimeWindow(window.duration, countsSlow, next)
    : new CountWindow(window.calls, next)

/** The index of a time window's first ring, and of its last one. */
const RINGS = 3
const SLOW_RING = RINGS + 2 * BUCKETS

/** The bits that a count window keeps of a call. */
const FAILURE = 1
const SLOW = 2
const RECORDED = 4

class TimeWindow implements Window {
  readonly next: Window | undefined
  readonly #within: number
  /** The three totals, then one ring after the other: successes, failures and, with `countsSlow`, slow calls. */
  readonly #counts: Uint32Array
  /** The number of the newest bucket, counted from time zero. */
  #newest = 0

  constructor(within: number, countsSlow: boolean, next: Window | undefined) {
    this.next = next
    this.#within = within
    this.#counts = new Uint32Array(RINGS + (countsSlow ? 3 : 2) * BUCKETS)
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

  resumed(next: Window | undefined, countsSlow: boolean, keepsSlow: boolean): Window {
    const window = new TimeWindow(this.#within, countsSlow, next)
    const kept = keepsSlow ? window.#counts.length : SLOW_RING
    window.#counts.set(this.#counts.subarray(0, Math.min(kept, this.#counts.length)))
    if (!keepsSlow) window.#counts[2] = 0
    window.#newest = this.#newest
    return window
  }
}

class CountWindow implements Window {
  readonly next: Window | undefined
  success = 0
  failure = 0
  slow = 0
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

  resumed(next: Window | undefined, _countsSlow: boolean, keepsSlow: boolean): Window {
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
