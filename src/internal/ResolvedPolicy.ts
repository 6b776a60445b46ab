/** A user's policy as numbers: defaults, checks, fingerprint. */
import * as Duration from "effect/Duration"
import { isSchedule, type Schedule } from "effect/Schedule"
import { slowerThanOf, type TripRule, windowsOf } from "../core/TripRule.ts"
import type { RuleWindow } from "../core/TripRule.ts"
import { countIn, durationIn, oneOf, type Problem, refuse } from "./Check.ts"
import type { Policy } from "./PolicyModel.ts"
import { problems as tripProblems, toRule } from "./TripCheck.ts"
import type { Trip } from "./TripModel.ts"

// Defaults that the README's table repeats, and a test compares with it.
export const defaultTrip: Trip = { _tag: "ConsecutiveFailures", failures: 5 }
export const defaultOpenForMillis = 60_000
export const defaultMaxOpenForMillis = 60 * 60 * 1000
export const defaultLeaseMillis = 30_000
export const defaultSyncEveryMillis = 1000
const LEASE_AFTER_TIMEOUT_MILLIS = 1000

/** A policy with every default filled in, durations in milliseconds. */
export interface Resolved {
  readonly rule: TripRule
  readonly windows: ReadonlyArray<RuleWindow>
  readonly slowerThanMillis: number | undefined
  /** Milliseconds, or the schedule that gives the n-th opening's. */
  readonly openFor: number | Schedule<unknown, number>
  readonly maxOpenForMillis: number
  readonly probes: number
  readonly successes: number
  readonly leaseMillis: number
  readonly probeTimeoutMillis: number | undefined
  readonly rampMillis: number
  readonly timeoutMillis: number | undefined
  readonly maxConcurrent: number | undefined
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
}

const YEAR_MILLIS = 365 * 24 * 60 * 60 * 1000

/** The problems of a policy; empty for a good one. */
export const problems = (policy: Policy): ReadonlyArray<Problem> => {
  const duration = (field: string, value: Duration.Input | undefined, least: number, most = YEAR_MILLIS) =>
    value === undefined ? [] : durationIn(field, value, least, most)
  const count = (field: string, value: number | undefined) =>
    value === undefined ? [] : countIn(field, value, 1, 1_000_000)
  const { consistency, halfOpen, maxOpenFor, openFor } = policy
  return [
    ...(policy.trip === undefined ? [] : tripProblems(policy.trip, "trip.")),
    ...(isSchedule(openFor) ? [] : duration("openFor", openFor, 1)),
    ...duration("maxOpenFor", maxOpenFor, leastMaxOpenFor(openFor)),
    ...count("halfOpen.probes", halfOpen?.probes),
    ...count("halfOpen.successes", halfOpen?.successes),
    ...duration("halfOpen.lease", halfOpen?.lease, 1),
    ...duration("halfOpen.timeout", halfOpen?.timeout, 1),
    ...duration("halfOpen.ramp", halfOpen?.ramp, 0),
    ...duration("timeout", policy.timeout, 1),
    ...count("maxConcurrent", policy.maxConcurrent),
    ...duration("syncEvery", policy.syncEvery, 10),
    ...(typeof consistency === "object"
      ? durationIn("consistency.maxAge", consistency.maxAge, 1, YEAR_MILLIS)
      : oneOf("consistency", consistency ?? "local", ["local", "strict"])),
    ...evidenceProblems(policy),
    ...oneOf("onStorageError", policy.onStorageError ?? "allow", ["allow", "fail"])
  ]
}

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

/** The policy with its defaults. Throws a `RangeError` that names every problem of the policy and the name. */
export const resolve = (circuit: string, policy: Policy): Resolved => {
  refuse(`Circuit ${JSON.stringify(circuit)}`, [
    ...(circuit.isWellFormed() ? [] : [{ field: "name", value: circuit, range: "well-formed Unicode" }]),
    ...problems(policy)
  ])
  const rule = toRule(policy.trip ?? defaultTrip)
  const halfOpen = policy.halfOpen ?? {}
  const longest = orElse(policy.maxOpenFor, YEAR_MILLIS)
  const openFor = isSchedule(policy.openFor)
    ? policy.openFor
    : orElse(policy.openFor, Math.min(defaultOpenForMillis, longest))
  const timeoutMillis = policy.timeout === undefined ? undefined : millis(policy.timeout)
  const { consistency = "local" } = policy
  const probeTimeoutMillis = halfOpen.timeout === undefined ? timeoutMillis : millis(halfOpen.timeout)
  return {
    rule,
    windows: windowsOf(rule),
    slowerThanMillis: slowerThanOf(rule),
    openFor,
    maxOpenForMillis: orElse(
      policy.maxOpenFor,
      Math.max(defaultMaxOpenForMillis, typeof openFor === "number" ? openFor : 0)
    ),
    probes: halfOpen.probes ?? 1,
    successes: halfOpen.successes ?? 1,
    leaseMillis: orElse(
      halfOpen.lease,
      probeTimeoutMillis === undefined ? defaultLeaseMillis : probeTimeoutMillis + LEASE_AFTER_TIMEOUT_MILLIS
    ),
    probeTimeoutMillis,
    rampMillis: orElse(halfOpen.ramp, 0),
    timeoutMillis,
    maxConcurrent: policy.maxConcurrent,
    fleet: {
      syncEveryMillis: orElse(policy.syncEvery, defaultSyncEveryMillis),
      maxAgeMillis: consistency === "local" ? Infinity : consistency === "strict" ? 0 : millis(consistency.maxAge),
      evidence: looksAtCalls(rule) ? "any" : policy.evidence,
      failsWithStorage: policy.onStorageError === "fail"
    }
  }
}

/** The policy without fields that are `undefined`. */
export const given = <P extends object>(policy: P): P =>
  Object.fromEntries(Object.entries(policy).filter(([, value]) => value !== undefined)) as P

/** A policy with some of its fields replaced by those that are given. */
export const merge = <P extends Policy>(policy: P, { halfOpen, ...fields }: Policy): P => ({
  ...policy,
  ...given(fields),
  ...(halfOpen === undefined ? {} : { halfOpen: { ...policy.halfOpen, ...given(halfOpen) } })
})

/**
 * 16 hex digits, equal for policies whose data decides alike, however they were written. A `Schedule` and `classify` are not
 * data, and not in it.
 */
export const fingerprint = (policy: Policy): string => {
  const { fleet: _, openFor, windows: __, ...data } = resolve("", policy)
  return digest(JSON.stringify({ ...data, openFor: isSchedule(openFor) ? null : openFor }))
}

/** 16 hex digits of a text: FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/). */
export const digest = (text: string): string => {
  let hash = 0xcbf29ce484222325n
  for (let i = 0; i < text.length; i++) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(i))) * 0x100000001b3n)
  }
  return hash.toString(16).padStart(16, "0")
}
