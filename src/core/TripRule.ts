/**
 * Trip rules: when does a closed circuit open? Plain data with every duration in milliseconds, evaluated here and nowhere
 * else, over a streak and the totals of one or more windows.
 *
 * A rule is reached at `>=` its threshold, and a window without failures (or slow calls) never trips. A rate is divided before
 * it is compared: the quotient is the number closest to the true rate, as the threshold written as a fraction is, so 7 calls
 * of 100 reach 0.07. Multiplied, they would not: `0.07 * 100` is more than 7.
 */

/** How far back a rate looks: a span of time in milliseconds, or a number of calls. */
export type RuleWindow =
  | { readonly _tag: "Within"; readonly duration: number }
  | { readonly _tag: "LastCalls"; readonly calls: number }

/** A trip policy with its durations in milliseconds. */
export type TripRule =
  | { readonly _tag: "ConsecutiveFailures"; readonly failures: number }
  | { readonly _tag: "Failures"; readonly count: number; readonly window: RuleWindow }
  | {
    readonly _tag: "FailureRate"
    readonly threshold: number
    readonly minimumCalls: number
    readonly window: RuleWindow
  }
  | {
    readonly _tag: "SlowCallRate"
    readonly threshold: number
    readonly slowerThan: number
    readonly minimumCalls: number
    readonly window: RuleWindow
  }
  | { readonly _tag: "Any" | "All"; readonly policies: ReadonlyArray<TripRule> }

/** What a window holds: calls that succeeded, calls that failed, and how many of both were slow. */
export interface Totals {
  readonly success: number
  readonly failure: number
  readonly slow: number
}

/** What a rule is judged on. `totals` answers for the windows the rule names. */
export interface Evidence {
  readonly streak: number
  readonly totals: (window: RuleWindow) => Totals
}

/** Whether two windows look back equally far: then they are one window. */
export const sameWindow = (a: RuleWindow, b: RuleWindow): boolean =>
  a._tag === "Within"
    ? b._tag === "Within" && a.duration === b.duration
    : b._tag === "LastCalls" && a.calls === b.calls

/** The windows that a rule looks at, each once. */
export const windowsOf = (rule: TripRule): ReadonlyArray<RuleWindow> => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return []
    case "Any":
    case "All": {
      const all = rule.policies.flatMap(windowsOf)
      return all.filter((window, i) => all.findIndex((other) => sameWindow(window, other)) === i)
    }
    default:
      return [rule.window]
  }
}

const span = (millis: number): string => millis % 1000 === 0 ? `${millis / 1000} s` : `${millis} ms`

/** So many calls, or failures, and where they were counted. */
const counted = (count: number, what: string, window: RuleWindow): string =>
  window._tag === "Within" ? `${count} ${what} within ${span(window.duration)}` : `the last ${count} ${what}`

/** The shortest duration that a rule calls slow, or `undefined` where it asks for none. */
export const slowerThanOf = (rule: TripRule): number | undefined => {
  switch (rule._tag) {
    case "SlowCallRate":
      return rule.slowerThan
    case "Any":
    case "All": {
      const all = rule.policies.map(slowerThanOf).filter((slow) => slow !== undefined)
      return all.length === 0 ? undefined : Math.min(...all)
    }
    default:
      return undefined
  }
}

/** Why the rule trips on this evidence, in words for a person on call, or `undefined` when it does not. */
export const trips = (rule: TripRule, evidence: Evidence): string | undefined => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return evidence.streak >= rule.failures ? `${evidence.streak} consecutive failures` : undefined
    case "Failures": {
      const { failure } = evidence.totals(rule.window)
      return failure >= rule.count ? counted(failure, "failures", rule.window) : undefined
    }
    case "FailureRate": {
      const totals = evidence.totals(rule.window)
      return rateReason("failure rate", totals.failure, totals, rule)
    }
    case "SlowCallRate": {
      const totals = evidence.totals(rule.window)
      return rateReason("slow call rate", totals.slow, totals, rule)
    }
    case "Any":
      return firstReason(rule.policies, evidence)
    case "All": {
      const reasons = rule.policies.map((policy) => trips(policy, evidence))
      return reasons.every((reason) => reason !== undefined) ? reasons.join(" and ") : undefined
    }
  }
}

/** How far the rule is from tripping on this evidence, in words for a person on call. */
export const standing = (rule: TripRule, evidence: Evidence): string => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return `${evidence.streak} of ${rule.failures} consecutive failures`
    case "Failures":
      return `${evidence.totals(rule.window).failure} of ${counted(rule.count, "failures", rule.window)}`
    case "FailureRate": {
      const totals = evidence.totals(rule.window)
      return rateStanding("failure rate", totals.failure, totals, rule)
    }
    case "SlowCallRate": {
      const totals = evidence.totals(rule.window)
      return rateStanding("slow call rate", totals.slow, totals, rule)
    }
    case "Any":
    case "All":
      return rule.policies.map((policy) => standing(policy, evidence)).join(rule._tag === "Any" ? "; " : " and ")
  }
}

const rateStanding = (
  what: string,
  bad: number,
  totals: Totals,
  rule: { readonly threshold: number; readonly minimumCalls: number; readonly window: RuleWindow }
): string => {
  const calls = totals.success + totals.failure
  const rate = calls === 0 ? 0 : bad / calls
  const of = counted(calls, "calls", rule.window)
  return `${what} ${rate.toFixed(2)} of ${of}, trips at ${rule.threshold} of at least ${rule.minimumCalls}`
}

const firstReason = (rules: ReadonlyArray<TripRule>, evidence: Evidence): string | undefined => {
  for (const rule of rules) {
    const reason = trips(rule, evidence)
    if (reason !== undefined) return reason
  }
  return undefined
}

const rateReason = (
  what: string,
  bad: number,
  totals: Totals,
  rule: { readonly threshold: number; readonly minimumCalls: number; readonly window: RuleWindow }
): string | undefined => {
  const calls = totals.success + totals.failure
  return bad > 0 && calls >= rule.minimumCalls && bad / calls >= rule.threshold
    ? `${what} ${(bad / calls).toFixed(2)} of ${counted(calls, "calls", rule.window)}`
    : undefined
}
