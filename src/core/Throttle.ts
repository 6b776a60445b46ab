/**
 * Throttling: a closed circuit whose dependency accepts too little of what it is asked for refuses a share of the calls, as clients do in
 * Google's SRE book ("Handling Overload"). A *request* is a call that was asked for: one that succeeded, one that failed, or one that was
 * shed. The requests that succeeded are *accepted*. The share that is shed is
 *
 * ```text
 * (requests - k * accepted) / (requests + 1), at least 0 and at most max
 * ```
 *
 * So `k` calls run for each one that is accepted: of a dependency that can take 100 calls a second, k * 100 are asked for.
 *
 * An instance judges by its own window, beside which it weighs as many requests of the fleet's as `minimumCalls`. So an instance with
 * few calls sheds as the fleet does, and one that has calls enough sheds by what it has met itself: of a fleet in which one instance
 * alone fails, that one sheds.
 */
import type { Evidence, RuleWindow, Totals } from "./TripRule.ts"
import { couldTrip } from "./TripRule.ts"

export interface Throttle {
  /** How many calls run for each accepted one. */
  readonly k: number
  readonly window: RuleWindow & { readonly _tag: "Within" }
  /** Of fewer requests nothing is concluded. */
  readonly minimumCalls: number
  /** The largest share that is shed. */
  readonly max: number
}

const requestsOf = ({ failure, shed = 0, success }: Totals): number => success + failure + shed

/** The share of the calls to shed, by this instance's requests and what is known of the fleet's. */
export const shareOf = ({ k, max, minimumCalls }: Throttle, own: Totals, fleet: Totals | undefined): number => {
  const ofFleet = fleet === undefined ? 0 : requestsOf(fleet)
  const ofOwn = requestsOf(own)
  if (Math.max(ofOwn, ofFleet) < minimumCalls) return 0
  const weight = ofFleet === 0 ? 0 : Math.min(1, minimumCalls / ofFleet)
  const requests = ofOwn + weight * ofFleet
  const accepted = own.success + weight * (fleet?.success ?? 0)
  return Math.max(0, Math.min(max, (requests - k * accepted) / (requests + 1)))
}

/** Whether calls could be shed once reports that are not known yet are added: see `couldTrip`. */
export const couldShed = (
  { k, minimumCalls, window }: Throttle,
  evidence: Pick<Evidence, "totals">,
  early: number
): boolean =>
  couldTrip({ _tag: "FailureRate", threshold: 1 - 1 / k, minimumCalls, window }, {
    streak: 0,
    totals: (of) => {
      const { failure, shed = 0, slow, success } = evidence.totals(of)
      return { success, failure: failure + shed, slow }
    }
  }, { streak: 1, totals: early })
