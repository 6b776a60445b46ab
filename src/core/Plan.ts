/** The numbers of a policy that the state machine goes by. */
import type { Throttle } from "./Throttle.ts"
import type { RuleWindow, TripRule } from "./TripRule.ts"

export interface Plan {
  readonly rule: TripRule
  /** The windows that the rule and the throttle look at, each once. */
  readonly windows: ReadonlyArray<RuleWindow>
  readonly throttle: Throttle | undefined
  /** How long the n-th consecutive opening lasts, n from 1. */
  readonly openForMillis: (opening: number) => number
  /** The longest open time that a `Retry-After` hint can bring about. */
  readonly maxOpenForMillis: number
  /** A call that takes this long is slow; `undefined` where no rule counts slow calls. */
  readonly slowerThanMillis: number | undefined
  /** How many places for probes there are in half-open. */
  readonly probes: number
  /** How many of them must succeed to close. */
  readonly successes: number
  /** How many of them must fail to reopen. */
  readonly failures: number
  /** How long a probe holds its place. */
  readonly leaseMillis: number
  /** How long a growing share of the calls is admitted after closing; 0 for all at once. */
  readonly rampMillis: number
}
