/**
 * How loud one circuit of one instance is: what it may keep to itself, and when the fleet has called for all that it has.
 *
 * A healthy circuit reports rarely. A failure is told soon only if the rule *could trip* on what is known of the fleet and this
 * instance's own outcomes, supposing that each other instance has as many failures. Whoever sees that the rule could trip on the
 * fleet's evidence calls an alert, in which every instance reports all that it has once an interval. Only in an alert, and only
 * once everybody had time to answer it, may the evidence trip.
 *
 * **Invariants**
 *
 * - An alert ends by itself, with the generation, and never sooner than the storage said last.
 */
import { widthFor } from "../../core/Buckets.ts"
import { add, type Delta, noCounts } from "../../core/Delta.ts"
import type { Plan } from "../../core/Plan.ts"
import { couldShed } from "../../core/Throttle.ts"
import type { LocalMillis } from "../../core/Time.ts"
import { couldTrip, type Evidence, type RuleWindow, type Totals } from "../../core/TripRule.ts"
import type { Snapshot } from "../../Storage/Storage.ts"

/** Thresholds are multiplied by this where it is asked whether a rule could trip, so that an alert comes before the trip. */
export const EARLY = 0.8

/** Whether the rule could trip, or calls be shed, on evidence of which a part is not known yet. */
export const couldMatter = ({ rule, throttle }: Pick<Plan, "rule" | "throttle">, evidence: Evidence): boolean =>
  couldTrip(rule, evidence, EARLY) || (throttle !== undefined && couldShed(throttle, evidence, EARLY))

/** How long an alert lasts after the last suspicion, in intervals. */
const ALERT_INTERVALS = 3

/** The longest that a healthy circuit is silent. */
const LONGEST_LAZY_MILLIS = 30_000

/** How many instances are supposed where the storage does not count them. More cost a few reports too many, fewer a late alert. */
const SUPPOSED_MEMBERS = 40

/** How many looks at an open circuit a large fleet makes in an interval. */
export const LOOKS_AN_INTERVAL = 40

export const alertMillisOf = (intervalMillis: number): number => ALERT_INTERVALS * intervalMillis

/** How long a healthy circuit is silent: a third of its shortest window, so that what it has not said stays a small part. */
export const lazyMillisOf = (
  withins: ReadonlyArray<number>,
  intervalMillis: number,
  idleMillis: number
): number =>
  Math.max(intervalMillis, Math.min(...withins.map((within) => within / 3), LONGEST_LAZY_MILLIS, idleMillis / 4))

/** How long after the call evidence may trip: an interval and a quarter, and two round trips of who judges. */
export const answerMillisOf = (intervalMillis: number, roundTripMillis: number): number =>
  1.25 * intervalMillis + 2 * roundTripMillis

/** How many instances are supposed at least, because who reports first sees a fleet of one. */
const LEAST_MEMBERS = 3

export const membersOf = ({ members = SUPPOSED_MEMBERS }: Snapshot): number => Math.max(LEAST_MEMBERS, members)

/** The storage's last answer, and the local time at which it came. */
export interface Known {
  readonly snapshot: Snapshot
  readonly answeredAt: LocalMillis
  readonly totals: (window: RuleWindow) => Totals
}

/** Whether the storage's last answer and these outcomes, which it has not acknowledged, could open the circuit or shed calls. */
export const isUrgent = (
  plan: Pick<Plan, "rule" | "throttle">,
  { answeredAt, snapshot, totals }: Known,
  own: Delta,
  now: LocalMillis
): boolean => {
  if (own.lifetime.failure === 0 && own.lifetime.slow === 0) return false
  const members = membersOf(snapshot)
  const { sawSuccess, trailing } = own.streak
  return couldMatter(plan, {
    streak: members * trailing + (sawSuccess ? 0 : snapshot.streak),
    totals: (window) => {
      const known = totals(window)
      if (window._tag !== "Within") return known
      const unsent = own.buckets.filter(({ age }) => age < window.duration + widthFor(window.duration))
        .reduce((sum, bucket) => add(sum, bucket), noCounts)
      const left = Math.max(0, 1 - (now - answeredAt) / window.duration)
      return {
        success: known.success * left + unsent.success,
        failure: known.failure + members * unsent.failure,
        slow: known.slow + members * unsent.slow,
        shed: (known.shed ?? 0) + members * (unsent.shed ?? 0)
      }
    }
  })
}

export class Vigil {
  /** By the local clock. */
  #alertUntil: LocalMillis = -Infinity
  /** When this instance last called. */
  #calledAt: LocalMillis = -Infinity

  isAlert(now: LocalMillis): boolean {
    return now < this.#alertUntil
  }

  /** Hears that an alert lasts for so long. Returns whether that is news. */
  hear(remainingMillis: number, now: LocalMillis): boolean {
    const isNews = !this.isAlert(now)
    this.#alertUntil = Math.max(this.#alertUntil, now + remainingMillis)
    return isNews && remainingMillis > 0
  }

  /** Whether this instance has called in the alert that runs. */
  hasCalled(intervalMillis: number, now: LocalMillis): boolean {
    return this.isAlert(now) && now - this.#calledAt < alertMillisOf(intervalMillis)
  }

  /** A new generation has no alert of the one before. */
  forget(): void {
    this.#alertUntil = -Infinity
  }

  /** Whether to call now, because too little of an alert is left. Not twice in half an interval, whatever the storage answers. */
  calls(intervalMillis: number, now: LocalMillis): boolean {
    const isLow = this.#alertUntil - now < alertMillisOf(intervalMillis) / 2
    if (!isLow || now - this.#calledAt < intervalMillis / 2) return false
    this.#calledAt = now
    return true
  }
}
