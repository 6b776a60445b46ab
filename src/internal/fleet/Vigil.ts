/**
 * How loud one circuit of one instance is: what it may keep to itself, and when the fleet has called for all that it has.
 *
 * A healthy circuit reports rarely. A failure is told soon only if the rule *could trip* on what is known of the fleet and this
 * instance's own outcomes, supposing that each other instance has as many failures. Whoever sees that the rule could trip on the
 * fleet's evidence calls an alert, in which every instance reports all that it has once an interval. Only in an alert, and only
 * once everybody had time to answer it, may the evidence trip.
 *
 * Where a part of the calls fails all the time, alerts follow one another and open nothing. A run of them that has lasted for a while
 * is in vain: from then on a row of failures is no reason for another one before it is as long as the rule says, and a circuit is
 * reported once an interval at most.
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

/**
 * Whether the rule could trip, or calls be shed, on evidence of which a part is not known yet. Where alerts are in vain, a row of
 * failures has to be as long as the rule says: its last failure comes at once where all calls fail, and rarely where a part does.
 */
export const couldMatter = (
  { rule, throttle }: Pick<Plan, "rule" | "throttle">,
  evidence: Evidence,
  isInVain: boolean
): boolean =>
  couldTrip(rule, evidence, { streak: isInVain ? 1 : EARLY, totals: EARLY }) ||
  (throttle !== undefined && couldShed(throttle, evidence, EARLY))

/** How long an alert lasts after the last suspicion, in intervals. */
const ALERT_INTERVALS = 3

/** Alerts are one run as long as they are less than so many intervals apart. */
const APART_INTERVALS = 30

/** A run of alerts is in vain once it has lasted for so many intervals, and nothing was opened. */
const IN_VAIN_INTERVALS = 10

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
  isInVain: boolean,
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
  }, isInVain)
}

export class Vigil {
  /** By the local clock. */
  #alertUntil: LocalMillis = -Infinity
  /** When the run of alerts began that the last one is of. */
  #runSince: LocalMillis = -Infinity
  /** When this instance last called. */
  #calledAt: LocalMillis = -Infinity
  /** Until when it would have nothing to report, with one report an interval. */
  #reportedUntil: LocalMillis = -Infinity

  isAlert(now: LocalMillis): boolean {
    return now < this.#alertUntil
  }

  /** Hears that an alert lasts for so long. Returns whether that is news. */
  hear(remainingMillis: number, intervalMillis: number, now: LocalMillis): boolean {
    const isNews = !this.isAlert(now)
    if (now - this.#alertUntil > APART_INTERVALS * intervalMillis) this.#runSince = now
    this.#alertUntil = Math.max(this.#alertUntil, now + remainingMillis)
    return isNews && remainingMillis > 0
  }

  /** Whether this instance has called in the alert that runs. */
  hasCalled(intervalMillis: number, now: LocalMillis): boolean {
    return this.isAlert(now) && now - this.#calledAt < alertMillisOf(intervalMillis)
  }

  /** Whether alerts, one soon after the other, have opened nothing for so long that the next one need not be called early. */
  isInVain(intervalMillis: number, now: LocalMillis): boolean {
    return now - this.#alertUntil <= APART_INTERVALS * intervalMillis &&
      now - this.#runSince > IN_VAIN_INTERVALS * intervalMillis
  }

  reported(intervalMillis: number, now: LocalMillis): void {
    this.#reportedUntil = Math.max(this.#reportedUntil, now) + intervalMillis
  }

  /** Whether it has reported at least once more than once an interval. */
  isAhead(intervalMillis: number, now: LocalMillis): boolean {
    return this.#reportedUntil - now > intervalMillis
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
