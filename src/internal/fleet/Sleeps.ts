/**
 * For how long this process slept, because its machine was suspended: its own clock stood still then, and the wall clock went on.
 * A wall clock that is set forward looks the same, so a sleep found here makes nothing end and no outcome count: it only makes a
 * view older, and agrees with the storage's clock or not.
 *
 * **Invariants**
 *
 * - `#wallAheadMillis` is by how much the wall clock was ahead at the last look, less what is too short to be a sleep.
 * - A sleep is dated by the look that found it, so it is later than all that happened before it.
 */
import type * as Clock from "effect/Clock"
import type { LocalMillis } from "../../core/Time.ts"
import { monotonicMillis } from "../Clock.ts"

/** The two clocks are read one after the other, and the wall clock is as coarse as a millisecond. */
const SHORTEST_MILLIS = 100

/** So many are kept apart. */
const MOST = 32

interface Sleep {
  readonly at: LocalMillis
  readonly millis: number
}

export class Sleeps {
  readonly #clock: Clock.Clock
  #wallAheadMillis: number
  #sleeps: ReadonlyArray<Sleep> = []

  constructor(clock: Clock.Clock) {
    this.#clock = clock
    this.#wallAheadMillis = this.#wallAhead(monotonicMillis(clock))
  }

  #wallAhead(now: LocalMillis): number {
    return this.#clock.currentTimeMillisUnsafe() - now
  }

  /** Looks at the clocks. To be called when something begins whose age matters later. */
  look(): void {
    const now = monotonicMillis(this.#clock)
    const aheadMillis = this.#wallAhead(now)
    const millis = aheadMillis - this.#wallAheadMillis
    if (millis < 0) this.#wallAheadMillis = aheadMillis
    if (millis < SHORTEST_MILLIS) return
    this.#wallAheadMillis = aheadMillis
    const [first, second, ...others] = [...this.#sleeps, { at: now, millis }]
    this.#sleeps = second === undefined || others.length < MOST - 1
      ? [...this.#sleeps, { at: now, millis }]
      : [{ at: second.at, millis: first!.millis + second.millis }, ...others]
  }

  /** How long it slept since a look at that time. */
  since(at: LocalMillis): number {
    this.look()
    return this.#sleeps.reduce((sum, sleep) => sleep.at > at ? sum + sleep.millis : sum, 0)
  }
}
