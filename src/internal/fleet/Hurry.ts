/**
 * How long the next failure of one circuit waits, so that others come with it. Each report that a failure hurries makes the next
 * one come twice as late, up to an interval: a dependency that fails in part, but not enough to trip, costs its storage no more
 * than one report an interval. After two intervals without one, the next failure is soon again.
 */
import type { LocalMillis } from "../../core/Time.ts"
import { FAILURE_DELAY_MILLIS } from "../Bounds.ts"

export class Hurry {
  #delayMillis = FAILURE_DELAY_MILLIS
  #sentAt: LocalMillis = -Infinity

  /** When the report is due that a failure of now hurries. */
  next(now: LocalMillis, intervalMillis: number): LocalMillis {
    if (now - this.#sentAt > 2 * intervalMillis) this.#delayMillis = FAILURE_DELAY_MILLIS
    return now + Math.min(intervalMillis, this.#delayMillis)
  }

  /** A report was sent that a failure has hurried. */
  sent(now: LocalMillis, intervalMillis: number): void {
    this.#sentAt = now
    this.#delayMillis = Math.min(intervalMillis, 2 * this.#delayMillis)
  }
}
