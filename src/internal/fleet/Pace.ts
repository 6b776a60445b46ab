/**
 * How much more rarely circuits report because the storage is slow: a storage with too much to do gets less, and not more. The
 * measure is how long requests take, of which a process has one in each interval at least.
 */
import type { LocalMillis } from "../../core/Time.ts"
import { REQUEST_DEADLINE_MILLIS } from "../Bounds.ts"

/** An interval is as long as so many round trips at least. */
const ROUND_TRIPS = 4

/** But no longer than so many times the policy's. */
export const MOST_SLOWDOWN = 4

/** The part of a slower round trip in the average, so that a single one changes little. */
const SLOWER_WEIGHT = 0.25

/** The part of a faster one, because while circuits report rarely there are few of them. */
const FASTER_WEIGHT = 0.5

export class Pace {
  #roundTripMillis: LocalMillis = 0

  /** A request was answered after so long, or was not within its deadline. More than that is a process that stood still. */
  took(millis: LocalMillis): void {
    const more = Math.min(millis, REQUEST_DEADLINE_MILLIS) - this.#roundTripMillis
    this.#roundTripMillis += (more > 0 ? SLOWER_WEIGHT : FASTER_WEIGHT) * more
  }

  /** How many times longer than `syncEvery` an interval is now. */
  slowdown(syncEveryMillis: LocalMillis): number {
    return Math.min(MOST_SLOWDOWN, Math.max(1, ROUND_TRIPS * this.#roundTripMillis / syncEveryMillis))
  }
}
