/**
 * How long the next failure of one circuit waits, so that others come with it. Each report that a failure hurries makes the next
 * one come twice as late, up to an interval: a dependency that fails in part, but not enough to trip, costs its storage no more
 * than one report an interval. Some intervals without one make the next one come twice as soon again, but not one of a sudden: else a
 * circuit that was silent for a moment would hurry five reports anew.
 */
import type { LocalMillis } from "../../core/Time.ts"
import { FAILURE_DELAY_MILLIS } from "../Bounds.ts"

/** After so many intervals without a hurried report the next one waits half as long. */
const CALM_INTERVALS = 3

export class Hurry {
  /** How long a failure waits right after the last report that one has hurried. */
  #delayMillis = FAILURE_DELAY_MILLIS
  #sentAt: LocalMillis = -Infinity

  /** When the report is due that a failure of now hurries. */
  next(now: LocalMillis, intervalMillis: number): LocalMillis {
    return now + Math.min(intervalMillis, this.#delayAt(now, intervalMillis))
  }

  /** A report was sent that a failure has hurried. */
  sent(now: LocalMillis, intervalMillis: number): void {
    this.#delayMillis = Math.min(intervalMillis, 2 * this.#delayAt(now, intervalMillis))
    this.#sentAt = now
  }

  #delayAt(now: LocalMillis, intervalMillis: number): number {
    const halvings = Math.floor((now - this.#sentAt) / (CALM_INTERVALS * intervalMillis))
    return Math.max(FAILURE_DELAY_MILLIS, this.#delayMillis / 2 ** halvings)
  }
}
