/** A user's policy as numbers: defaults, checks, fingerprint. */
import * as Duration from "effect/Duration"
import { isSchedule, type Schedule } from "effect/Schedule"
import type { Plan } from "../core/Plan.ts"
import { type RuleWindow, sameWindow, slowerThanOf, type TripRule, windowsOf } from "../core/TripRule.ts"
import {
  countIn,
  durationIn,
  fieldsIn,
  isObject,
  oneOf,
  type Problem,
  rateIn,
  refuse,
  shown,
  YEAR_MILLIS
} from "./Check.ts"
import { nameProblems } from "./CircuitName.ts"
import type { Data, HalfOpen, Overflow, Policy, Sample, Throttle } from "./PolicyModel.ts"
import { LONGEST_WINDOW_MILLIS, problems as tripProblems, toRule } from "./TripCheck.ts"
import type { Trip } from "./TripModel.ts"

// Defaults that the README's table repeats, and a test compares with it.
export const defaultTrip: Trip = { _tag: "ConsecutiveFailures", failures: 5 }
export const defaultOpenForMillis = 60_000
export const defaultMaxOpenForMillis = 60 * 60 * 1000
export const defaultLeaseMillis = 30_000
export const defaultSyncEveryMillis = 1000
export const defaultApproachAt = 0.8
export const defaultSample = { calls: 10, failureRate: 0.5 }
export const defaultThrottle = { k: 2, within: "2 minutes", minimumCalls: 20, max: 0.9 } as const
const LEASE_AFTER_TIMEOUT_MILLIS = 1000
const MOST_K = 1000

/** A policy with every default filled in, durations in milliseconds. */
export interface Resolved {
  readonly rule: TripRule
  readonly windows: ReadonlyArray<RuleWindow>
  readonly throttle: Plan["throttle"]
  readonly slowerThanMillis: number | undefined
  /** Milliseconds, or the schedule that gives the n-th opening's. */
  readonly openFor: number | Schedule<unknown, number>
  readonly maxOpenForMillis: number
  readonly probes: number
  readonly successes: number
  readonly failures: number
  readonly leaseMillis: number
  readonly probeTimeoutMillis: number | undefined
  readonly rampMillis: number
  readonly timeoutMillis: number | undefined
  readonly maxConcurrent: number | undefined
  readonly enforcement: "enforce" | "metricsOnly"
  /** The share of a threshold at which `Approaching` is published; `undefined` for never. */
  readonly approachAt: number | undefined
  readonly fleet: FleetPolicy
}

/** The part of a policy that an instance and its fleet go by. */
export interface FleetPolicy {
  readonly syncEveryMillis: number
  /** How old the view may be that a call is decided on: 0 in `strict`, where it must be newer than the call. */
  readonly maxAgeMillis: number
  /** `undefined` where the storage decides. */
  readonly evidence: "pooled" | "any" | undefined
  readonly failsWithStorage: boolean
  /** The instance proposes trips to the fleet and asks for leases. False under `metricsOnly`. */
  readonly takesPart: boolean
  /** Whether healthy circuits report rarely, where the storage has bells. */
  readonly isQuiet: boolean
}

/** Every field of a type, once: a field that is added to the type and not here does not compile. */
const fieldsOf = <T>() => <const K extends keyof T>(fields: readonly K[] & (keyof T extends K ? unknown : never)) =>
  fields

const halfOpenFields = fieldsOf<HalfOpen>()(["probes", "successes", "sample", "lease", "timeout", "ramp"])
const sampleFields = fieldsOf<Sample>()(["calls", "failureRate"])
const throttleFields = fieldsOf<Throttle>()(["k", "within", "minimumCalls", "max"])

/** The fields of a policy that are data. */
export const dataFields = fieldsOf<Data>()([
  "trip",
  "openFor",
  "maxOpenFor",
  "halfOpen",
  "throttle",
  "timeout",
  "maxConcurrent",
  "consistency",
  "evidence",
  "onStorageError",
  "enforcement",
  "approachAt",
  "syncEvery",
  "reports"
])

const policyFields = fieldsOf<Policy>()([...dataFields, "classify"])

/** The fields that a keyed breaker has besides those of its policy. */
export const keyedFields = ["capacity", "idleTimeToLive", "overflow", "neverOpenMoreThan"] as const

/** The policy of a keyed breaker, as its public type has it. */
export interface KeyedPolicy extends Policy {
  readonly capacity?: number | undefined
  readonly idleTimeToLive?: Duration.Input | undefined
  readonly overflow?: Overflow | undefined
  readonly neverOpenMoreThan?: number | undefined
}

/** The options of a keyed breaker, with their defaults, and the policy of its circuits. */
export const keyedParts = (
  { capacity = 10_000, idleTimeToLive = "1 hour", neverOpenMoreThan = 1, overflow = "evictIdle", ...own }: KeyedPolicy
) => ({ capacity, idleTimeToLive, overflow, neverOpenMoreThan, own })

/** How long a keyed breaker keeps a circuit that is not used, in milliseconds. The policy is one without problems. */
export const idleMillisOf = (policy: KeyedPolicy): number => millis(keyedParts(policy).idleTimeToLive)

/** The problems of a keyed breaker's own options; empty for good ones. */
export const keyedProblems = (policy: KeyedPolicy): ReadonlyArray<Problem> => {
  const { capacity, idleTimeToLive, neverOpenMoreThan, overflow } = keyedParts(policy)
  return [
    ...countIn("capacity", capacity, 1, 10_000_000),
    ...durationIn("idleTimeToLive", idleTimeToLive, 1, Number.MAX_SAFE_INTEGER),
    ...oneOf("overflow", overflow, ["evictIdle", "shareOne", "passThrough"]),
    ...rateIn("neverOpenMoreThan", neverOpenMoreThan)
  ]
}

/** The problems of a policy; empty for a good one. `more` are fields that it may have besides its own. */
export const problems = (policy: Policy, more: ReadonlyArray<string> = []): ReadonlyArray<Problem> =>
  isObject(policy)
    ? [...fieldsIn("", policy, [...policyFields, ...more]), ...valueProblems(policy)]
    : [{ field: "policy", value: policy, range: "an object" }]

const valueProblems = (policy: Policy): ReadonlyArray<Problem> => {
  const duration = (field: string, value: Duration.Input | undefined, least: number, most = YEAR_MILLIS) =>
    value === undefined ? [] : durationIn(field, value, least, most)
  const count = (field: string, value: number | undefined) =>
    value === undefined ? [] : countIn(field, value, 1, 1_000_000)
  const { classify, halfOpen, maxOpenFor, openFor } = policy
  return [
    ...(policy.trip === undefined ? [] : tripProblems(policy.trip, "trip.")),
    ...(isSchedule(openFor) ? [] : duration("openFor", openFor, 1)),
    ...duration("maxOpenFor", maxOpenFor, leastMaxOpenFor(openFor)),
    ...(halfOpen === undefined ? [] : fieldsIn("halfOpen.", halfOpen, halfOpenFields)),
    ...count("halfOpen.probes", halfOpen?.probes),
    ...count("halfOpen.successes", halfOpen?.successes),
    ...sampleProblems(halfOpen ?? {}),
    ...duration("halfOpen.lease", halfOpen?.lease, 1),
    ...duration("halfOpen.timeout", halfOpen?.timeout, 1),
    ...duration("halfOpen.ramp", halfOpen?.ramp, 0),
    ...throttleProblems(policy),
    ...duration("timeout", policy.timeout, 1),
    ...count("maxConcurrent", policy.maxConcurrent),
    ...duration("syncEvery", policy.syncEvery, 10),
    ...consistencyProblems(policy),
    ...evidenceProblems(policy),
    ...oneOf("onStorageError", policy.onStorageError ?? "allow", ["allow", "fail"]),
    ...oneOf("reports", policy.reports ?? "quiet", ["quiet", "every interval"]),
    ...oneOf("enforcement", policy.enforcement ?? "enforce", ["enforce", "metricsOnly"]),
    ...approachProblems(policy),
    ...(classify === undefined || typeof classify === "function"
      ? []
      : [{ field: "classify", value: classify, range: "a function" }])
  ]
}

const sampleProblems = ({ sample, successes }: HalfOpen): ReadonlyArray<Problem> => {
  if (sample === undefined) return []
  if (!isObject(sample)) return fieldsIn("halfOpen.sample.", sample, sampleFields)
  const { calls = defaultSample.calls, failureRate = defaultSample.failureRate } = sample
  const isRate = typeof failureRate === "number" && failureRate > 0 && failureRate <= 1
  return [
    ...fieldsIn("halfOpen.sample.", sample, sampleFields),
    ...countIn("halfOpen.sample.calls", calls, 1, 1_000_000),
    ...(isRate
      ? []
      : [{ field: "halfOpen.sample.failureRate", value: failureRate, range: "a rate above 0 and up to 1" }]),
    ...(successes === undefined
      ? []
      : [{
        field: "halfOpen.successes",
        value: successes,
        range: "left out, because sample decides when the circuit closes"
      }])
  ]
}

const withThrottleDefaults = ({
  k = defaultThrottle.k,
  max = defaultThrottle.max,
  minimumCalls = defaultThrottle.minimumCalls,
  within = defaultThrottle.within
}: Throttle) => ({ k, max, minimumCalls, within })

const throttleProblems = ({ throttle }: Policy): ReadonlyArray<Problem> => {
  if (throttle === undefined) return []
  if (!isObject(throttle)) return fieldsIn("throttle.", throttle, throttleFields)
  const { k, max, minimumCalls, within } = withThrottleDefaults(throttle)
  return [
    ...fieldsIn("throttle.", throttle, throttleFields),
    ...(typeof k === "number" && k >= 1 && k <= MOST_K
      ? []
      : [{ field: "throttle.k", value: k, range: `a number from 1 to ${MOST_K}` }]),
    ...durationIn("throttle.within", within, 1, LONGEST_WINDOW_MILLIS),
    ...countIn("throttle.minimumCalls", minimumCalls, 1, 1_000_000),
    ...rateIn("throttle.max", max)
  ]
}

const consistencyProblems = ({ consistency = "local" }: Policy): ReadonlyArray<Problem> =>
  isObject(consistency)
    ? [
      ...fieldsIn("consistency.", consistency, ["maxAge"]),
      ...durationIn("consistency.maxAge", consistency.maxAge, 1, YEAR_MILLIS)
    ]
    : oneOf("consistency", consistency, ["local", "strict"])

const approachProblems = ({ approachAt = false }: Policy): ReadonlyArray<Problem> =>
  approachAt === false || (typeof approachAt === "number" && approachAt > 0 && approachAt <= 1)
    ? []
    : [{ field: "approachAt", value: approachAt, range: "a share above 0 and up to 1, or false" }]

/** The last calls of several instances have no common order, so they cannot be pooled. */
const evidenceProblems = ({ evidence = "any", trip }: Policy): ReadonlyArray<Problem> => {
  const found = oneOf("evidence", evidence, ["pooled", "any"])
  const isRing = trip !== undefined && tripProblems(trip, "").length === 0 && looksAtCalls(toRule(trip))
  return found.length === 0 && evidence === "pooled" && isRing
    ? [{ field: "evidence", value: evidence, range: "\"any\" for a trip policy with lastCalls" }]
    : found
}

const looksAtCalls = (rule: TripRule): boolean => windowsOf(rule).some((window) => window._tag === "LastCalls")

/** `maxOpenFor` is at least `openFor`, because a hint can only lengthen an open time. */
const leastMaxOpenFor = (openFor: Policy["openFor"]): number =>
  openFor === undefined || isSchedule(openFor) || durationIn("openFor", openFor, 1, YEAR_MILLIS).length > 0
    ? 1
    : millis(openFor)

const millis = (duration: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(duration))
const orElse = (duration: Duration.Input | undefined, otherwise: number): number =>
  duration === undefined ? otherwise : millis(duration)

/**
 * The policy with its defaults. Throws a `RangeError` that names every problem of the policy and the name. `more` are fields
 * that it may have besides its own.
 */
export const resolve = (circuit: string, policy: Policy, more?: ReadonlyArray<string>): Resolved => {
  refuse(`Circuit ${shown(circuit)}`, [...nameProblems(circuit), ...problems(policy, more)])
  return withDefaults(policy)
}

/** A policy without problems, as numbers. */
export const withDefaults = (policy: Policy): Resolved => {
  const rule = toRule(policy.trip ?? defaultTrip)
  const throttle = throttleOf(policy)
  const halfOpen = policy.halfOpen ?? {}
  const longest = orElse(policy.maxOpenFor, YEAR_MILLIS)
  const openFor = isSchedule(policy.openFor)
    ? policy.openFor
    : orElse(policy.openFor, Math.min(defaultOpenForMillis, longest))
  const timeoutMillis = policy.timeout === undefined ? undefined : millis(policy.timeout)
  const { approachAt = defaultApproachAt, consistency = "local", enforcement = "enforce" } = policy
  const probeTimeoutMillis = halfOpen.timeout === undefined ? timeoutMillis : millis(halfOpen.timeout)
  return {
    rule,
    windows: withWindow(windowsOf(rule), throttle?.window),
    throttle,
    slowerThanMillis: slowerThanOf(rule),
    openFor,
    maxOpenForMillis: orElse(
      policy.maxOpenFor,
      Math.max(defaultMaxOpenForMillis, typeof openFor === "number" ? openFor : 0)
    ),
    probes: halfOpen.probes ?? 1,
    ...roundOf(halfOpen),
    leaseMillis: orElse(
      halfOpen.lease,
      probeTimeoutMillis === undefined ? defaultLeaseMillis : probeTimeoutMillis + LEASE_AFTER_TIMEOUT_MILLIS
    ),
    probeTimeoutMillis,
    rampMillis: orElse(halfOpen.ramp, 0),
    timeoutMillis,
    maxConcurrent: policy.maxConcurrent,
    enforcement,
    approachAt: approachAt === false ? undefined : approachAt,
    fleet: {
      syncEveryMillis: orElse(policy.syncEvery, defaultSyncEveryMillis),
      maxAgeMillis: consistency === "local" ? Infinity : consistency === "strict" ? 0 : millis(consistency.maxAge),
      evidence: looksAtCalls(rule) ? "any" : policy.evidence,
      failsWithStorage: policy.onStorageError === "fail" && enforcement === "enforce",
      takesPart: enforcement === "enforce",
      isQuiet: policy.reports !== "every interval"
    }
  }
}

/** A throttle that sheds nothing is none. */
const throttleOf = ({ throttle = { max: 0 } }: Policy): Resolved["throttle"] => {
  const { k, max, minimumCalls, within } = withThrottleDefaults(throttle)
  return max === 0 ? undefined : { k, window: { _tag: "Within", duration: millis(within) }, minimumCalls, max }
}

const withWindow = (windows: ReadonlyArray<RuleWindow>, more: RuleWindow | undefined): ReadonlyArray<RuleWindow> =>
  more === undefined || windows.some((window) => sameWindow(window, more)) ? windows : [...windows, more]

/** How many probes must succeed to close, and how many must fail to reopen. */
const roundOf = ({ sample, successes = 1 }: HalfOpen): Pick<Resolved, "successes" | "failures"> => {
  if (sample === undefined) return { successes, failures: 1 }
  const { calls = defaultSample.calls, failureRate = defaultSample.failureRate } = sample
  // The least number of failures whose share reaches the rate: the product alone may be off by rounding.
  let failures = Math.max(1, Math.floor(failureRate * calls))
  while (failures / calls < failureRate) failures++
  return { successes: calls - failures + 1, failures }
}

const DECLARED = "declared where the policy is written (Breaker.unset does so without a value)"

/**
 * The fields in which a policy makes an error possible that `declared`, the policy that a call's type was made from, does not.
 * A field is declared by its key, also without a value.
 */
export const undeclared = (declared: Policy, policy: Policy): ReadonlyArray<Problem> => {
  const isDeclared = (key: keyof Policy): boolean => Object.hasOwn(declared, key)
  const halfOpen = declared.halfOpen ?? {}
  const timesOut = isDeclared("timeout") || Object.hasOwn(halfOpen, "timeout")
  const failsWithStorage = isDeclared("consistency") && declared.consistency !== "local" &&
    isDeclared("onStorageError") && declared.onStorageError !== "allow"
  const found = (isFound: boolean, field: string, value: unknown, error: string): ReadonlyArray<Problem> =>
    isFound
      ? [{ field, value, range: `${DECLARED}, because calls can then fail with ${error}` }]
      : []
  return [
    ...found(!timesOut && policy.timeout !== undefined, "timeout", policy.timeout, "BreakerTimeoutError"),
    ...found(
      !timesOut && policy.halfOpen?.timeout !== undefined,
      "halfOpen.timeout",
      policy.halfOpen?.timeout,
      "BreakerTimeoutError"
    ),
    ...found(
      !isDeclared("maxConcurrent") && policy.maxConcurrent !== undefined,
      "maxConcurrent",
      policy.maxConcurrent,
      "BulkheadFullError"
    ),
    ...found(
      !failsWithStorage && policy.onStorageError === "fail" && (policy.consistency ?? "local") !== "local",
      "consistency with onStorageError",
      policy.consistency,
      "StorageError"
    )
  ]
}

/** The policy without fields that are `undefined`. */
export const given = <P extends object>(policy: P): P =>
  Object.fromEntries(Object.entries(policy).filter(([, value]) => value !== undefined)) as P

/** The part of a policy that is data, without fields that are `undefined`. */
export const dataOf = (policy: Policy): Data =>
  Object.fromEntries(
    dataFields.flatMap((field) => {
      const value = policy[field]
      return value === undefined || isSchedule(value) ? [] : [[field, value]]
    })
  )

/** A policy with some of its fields replaced by those that are given. */
export const merge = <P extends Policy>(policy: P, { halfOpen, throttle, ...fields }: Policy): P => ({
  ...policy,
  ...given(fields),
  ...(throttle === undefined ? {} : { throttle: { ...policy.throttle, ...given(throttle) } }),
  ...(halfOpen === undefined ? {} : { halfOpen: mergeHalfOpen(policy.halfOpen, halfOpen) })
})

/** Of `successes` and `sample` the one that is given replaces the other, because both say when the circuit closes. */
const mergeHalfOpen = (halfOpen: HalfOpen | undefined, change: HalfOpen): HalfOpen => {
  const { sample, ...fields } = given(change)
  const { sample: sampleBefore, successes: successesBefore, ...before } = halfOpen ?? {}
  const kept = sample === undefined && fields.successes === undefined
    ? given({ sample: sampleBefore, successes: successesBefore })
    : {}
  return {
    ...before,
    ...kept,
    ...fields,
    ...(sample === undefined ? {} : { sample: { ...sampleBefore, ...given(sample) } })
  }
}

/**
 * 16 hex digits, equal for policies whose data decides alike, however they were written. A `Schedule` and `classify` are not
 * data, and not in it.
 */
export const fingerprint = (policy: Policy): string => {
  refuse("Policy", problems(policy, keyedFields))
  const resolved = withDefaults(policy)
  // Names and order are part of the digest, so they stay as they are.
  return digest(JSON.stringify({
    rule: resolved.rule,
    slowerThan: resolved.slowerThanMillis,
    maxOpenFor: resolved.maxOpenForMillis,
    probes: resolved.probes,
    successes: resolved.successes,
    lease: resolved.leaseMillis,
    probeTimeout: resolved.probeTimeoutMillis,
    ramp: resolved.rampMillis,
    timeout: resolved.timeoutMillis,
    maxConcurrent: resolved.maxConcurrent,
    openFor: isSchedule(resolved.openFor) ? null : resolved.openFor,
    // Absent by default, so that the digests of earlier versions stay.
    ...(resolved.failures === 1 ? {} : { failures: resolved.failures }),
    ...(resolved.throttle === undefined ? {} : { throttle: resolved.throttle }),
    ...(resolved.enforcement === "enforce" ? {} : { enforcement: resolved.enforcement })
  }))
}

/** 16 hex digits of a text: FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/). */
export const digest = (text: string): string => {
  let hash = 0xcbf29ce484222325n
  for (let i = 0; i < text.length; i++) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(i))) * 0x100000001b3n)
  }
  return hash.toString(16).padStart(16, "0")
}
