/**
 * Trip rules say when a closed circuit opens. They are plain data with every duration in milliseconds, evaluated only
 * here, over a streak and the totals of one or more windows.
 *
 * A rule trips at `>=` its threshold, and a window without failures (or slow calls) never trips. A rate is divided
 * before it is compared: the quotient and a threshold written as a fraction both round to the nearest number, so 7
 * calls of 100 reach 0.07. A product would not: `0.07 * 100` is more than 7.
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

type RateRule = Pick<Extract<TripRule, { readonly _tag: "FailureRate" }>, "threshold" | "minimumCalls">

/** The counts of a window: successes, failures, how many of both were slow, and calls that were shed, which no rule looks at. */
export interface Totals {
  readonly success: number
  readonly failure: number
  readonly slow: number
  readonly shed?: number | undefined
}

/** The evidence that a rule is judged on. `totals` returns the counts of a window that the rule names. */
export interface Evidence {
  readonly streak: number
  readonly totals: (window: RuleWindow) => Totals
}

/** Whether two windows look back equally far. Such windows are kept as one. */
export const sameWindow = (a: RuleWindow, b: RuleWindow): boolean =>
  a._tag === "Within"
    ? b._tag === "Within" && a.duration === b.duration
    : b._tag === "LastCalls" && a.calls === b.calls

/** The windows that a rule reads, each once. */
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

/** A duration as the reasons of trips name it. */
export const formatMillis = (millis: number): string => millis % 1000 === 0 ? `${millis / 1000} s` : `${millis} ms`

const formatCount = (count: number, unit: "calls" | "failures", window: RuleWindow): string =>
  window._tag === "Within" ? `${count} ${unit} within ${formatMillis(window.duration)}` : `the last ${count} ${unit}`

/** The shortest duration that a rule calls slow; `undefined` if no rule measures slow calls. */
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

/** The reason why the rule trips on this evidence, in words for a person on call; `undefined` if it does not trip. */
export const trips = (rule: TripRule, evidence: Evidence): string | undefined => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return evidence.streak >= rule.failures ? `${evidence.streak} consecutive failures` : undefined
    case "Failures": {
      const { failure } = evidence.totals(rule.window)
      return failure >= rule.count ? formatCount(failure, "failures", rule.window) : undefined
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

/** By what thresholds are multiplied where it is asked whether a rule could trip: that of a row of failures, and those of totals. */
export interface Early {
  readonly streak: number
  readonly totals: number
}

/**
 * Whether the rule could trip on evidence of which a part is not known yet: its thresholds are multiplied by `early`. What is
 * not known may be successes, which lower a rate and fill its minimum. So a rate is of at least its `minimumCalls`.
 */
export const couldTrip = (rule: TripRule, evidence: Evidence, early: Early): boolean => {
  const rateCould = (bad: number, { failure, success }: Totals, { minimumCalls, threshold }: RateRule): boolean =>
    bad > 0 && bad / Math.max(success + failure, minimumCalls) >= threshold * early.totals
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return evidence.streak >= Math.ceil(rule.failures * early.streak)
    case "Failures":
      return evidence.totals(rule.window).failure >= Math.ceil(rule.count * early.totals)
    case "FailureRate": {
      const totals = evidence.totals(rule.window)
      return rateCould(totals.failure, totals, rule)
    }
    case "SlowCallRate": {
      const totals = evidence.totals(rule.window)
      return rateCould(totals.slow, totals, rule)
    }
    case "Any":
      return rule.policies.some((policy) => couldTrip(policy, evidence, early))
    case "All":
      return rule.policies.every((policy) => couldTrip(policy, evidence, early))
  }
}

/** How far the rule is from tripping on this evidence, in words for a person on call. */
export const standing = (rule: TripRule, evidence: Evidence): string => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return `${evidence.streak} of ${rule.failures} consecutive failures`
    case "Failures":
      return `${evidence.totals(rule.window).failure} of ${formatCount(rule.count, "failures", rule.window)}`
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

/**
 * How close the rule is to tripping on this evidence: a share of its threshold in [0, 1], and 1 exactly when it trips. A rate has a
 * share of its minimum of calls, too, and the smaller of the two counts. `Any` is as close as the closest of its rules, `All` as the
 * one that is furthest away.
 */
export const approach = (rule: TripRule, evidence: Evidence): number => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return shareOf(evidence.streak, rule.failures)
    case "Failures":
      return shareOf(evidence.totals(rule.window).failure, rule.count)
    case "FailureRate": {
      const totals = evidence.totals(rule.window)
      return rateApproach(totals.failure, totals, rule)
    }
    case "SlowCallRate": {
      const totals = evidence.totals(rule.window)
      return rateApproach(totals.slow, totals, rule)
    }
    case "Any":
      return rule.policies.reduce((most, policy) => Math.max(most, approach(policy, evidence)), 0)
    case "All":
      return rule.policies.reduce((least, policy) => Math.min(least, approach(policy, evidence)), 1)
  }
}

// A quotient is below 1 exactly when its numerator is below its denominator, also after rounding.
const shareOf = (value: number, threshold: number): number => Math.min(1, value / threshold)

const rateApproach = (
  bad: number,
  totals: Totals,
  { minimumCalls, threshold }: { readonly threshold: number; readonly minimumCalls: number }
): number => {
  // Without a bad call a rate never trips. With one, neither share is 0 / 0.
  if (bad === 0) return 0
  const calls = totals.success + totals.failure
  return Math.min(shareOf(calls, minimumCalls), shareOf(bad / calls, threshold))
}

const rateStanding = (
  kind: "failure rate" | "slow call rate",
  bad: number,
  totals: Totals,
  rule: { readonly threshold: number; readonly minimumCalls: number; readonly window: RuleWindow }
): string => {
  const calls = totals.success + totals.failure
  const rate = calls === 0 ? 0 : bad / calls
  const of = formatCount(calls, "calls", rule.window)
  return `${kind} ${rate.toFixed(2)} of ${of}, trips at ${rule.threshold} of at least ${rule.minimumCalls}`
}

/** A rule in words. */
export const ruleInWords = (rule: TripRule): string => {
  switch (rule._tag) {
    case "ConsecutiveFailures":
      return `${rule.failures} consecutive failures`
    case "Failures":
      return formatCount(rule.count, "failures", rule.window)
    case "FailureRate":
      return `failure rate ${rateInWords(rule)}`
    case "SlowCallRate":
      return `slow call rate ${rateInWords(rule)}, slow from ${formatMillis(rule.slowerThan)}`
    case "Any":
    case "All": {
      const joined = rule.policies.map(ruleInWords).join(rule._tag === "Any" ? " or " : " and ")
      return rule.policies.length > 1 ? `(${joined})` : joined
    }
  }
}

const rateInWords = (
  { minimumCalls, threshold, window }: {
    readonly threshold: number
    readonly minimumCalls: number
    readonly window: RuleWindow
  }
): string => {
  const of = window._tag === "Within"
    ? `calls within ${formatMillis(window.duration)}`
    : `the last ${window.calls} calls`
  return `${threshold} of at least ${minimumCalls} of ${of}`
}

const firstReason = (rules: ReadonlyArray<TripRule>, evidence: Evidence): string | undefined => {
  for (const rule of rules) {
    const reason = trips(rule, evidence)
    if (reason !== undefined) return reason
  }
  return undefined
}

const rateReason = (
  kind: "failure rate" | "slow call rate",
  bad: number,
  totals: Totals,
  rule: { readonly threshold: number; readonly minimumCalls: number; readonly window: RuleWindow }
): string | undefined => {
  const calls = totals.success + totals.failure
  return bad > 0 && calls >= rule.minimumCalls && bad / calls >= rule.threshold
    ? `${kind} ${(bad / calls).toFixed(2)} of ${formatCount(calls, "calls", rule.window)}`
    : undefined
}
