/**
 * How much more rarely circuits report because the storage is slow: a storage with too much to do gets less, and not more. The
 * measure is how long requests take, of which a process has one in each interval at least.
 */
import type { LocalMillis } from "../../core/Time.ts"
import { REQUEST_DEADLINE_MILLIS } from "../Bounds.ts"

/** An interval is as long as so many round trips at least. */
const ROUND_TRIPS = 4

/** But no longer than so many times the policy's. */
const MOST = 4

/** The part of a new round trip in the average, so that ten fast ones after slow ones end the slowdown. */
const WEIGHT = 0.25

export class Pace {
  #roundTripMillis: LocalMillis = 0

  /** A request was answered after so long, or was not within its deadline. More than that is a process that stood still. */
  took(millis: LocalMillis): void {
    this.#roundTripMillis += WEIGHT * (Math.min(millis, REQUEST_DEADLINE_MILLIS) - this.#roundTripMillis)
  }

  /** How many times longer than `syncEvery` an interval is now. */
  slowdown(syncEveryMillis: LocalMillis): number {
    return Math.min(MOST, Math.max(1, ROUND_TRIPS * this.#roundTripMillis / syncEveryMillis))
  }
}
