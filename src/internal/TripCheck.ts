/** Checks the trip policies that users write, and makes of them the rules that the core evaluates. */
import * as Duration from "effect/Duration"
import type { RuleWindow, TripRule } from "../core/TripRule.ts"
import { countIn, durationIn, fieldsIn, isObject, oneOf, type Problem, rateIn } from "./Check.ts"
import type { Trip, Window } from "./TripModel.ts"

export const LONGEST_WINDOW_MILLIS = 10 * 60 * 60 * 1000
const MOST_CALLS = 100_000

/** The problems of a trip policy; empty for a good one. `path` leads to its fields in the messages. */
export const problems = (trip: Trip, path: string): ReadonlyArray<Problem> => {
  const found = problemsOf(trip, path)
  return found.length > 0 ? found : slowProblems(trip, path)
}

/** The fields of each kind of trip policy. */
const tripFields = {
  ConsecutiveFailures: ["_tag", "failures"],
  Failures: ["_tag", "count", "within"],
  FailureRate: ["_tag", "threshold", "minimumCalls", "window"],
  SlowCallRate: ["_tag", "threshold", "slowerThan", "minimumCalls", "window"],
  Any: ["_tag", "policies"],
  All: ["_tag", "policies"]
} as const satisfies { readonly [Tag in Trip["_tag"]]: ReadonlyArray<string> }

/** The fields of each kind of window. */
const windowFields = {
  Within: ["_tag", "duration"],
  LastCalls: ["_tag", "calls"]
} as const satisfies { readonly [Tag in Window["_tag"]]: ReadonlyArray<string> }

const problemsOf = (trip: Trip, path: string): ReadonlyArray<Problem> => {
  if (!isObject(trip)) {
    return [{ field: path === "" ? "trip" : path.slice(0, -1), value: trip, range: "a trip policy made by Trip" }]
  }
  return Object.hasOwn(tripFields, trip._tag)
    ? [...fieldsIn(path, trip, tripFields[trip._tag]), ...valueProblems(trip, path)]
    : oneOf(`${path}_tag`, trip._tag, Object.keys(tripFields))
}

const valueProblems = (trip: Trip, path: string): ReadonlyArray<Problem> => {
  switch (trip._tag) {
    case "ConsecutiveFailures":
      return countIn(`${path}failures`, trip.failures, 1, Number.MAX_SAFE_INTEGER)
    case "Failures":
      return [
        ...countIn(`${path}count`, trip.count, 1, Number.MAX_SAFE_INTEGER),
        ...durationIn(`${path}within`, trip.within, 1, LONGEST_WINDOW_MILLIS)
      ]
    case "FailureRate":
      return [...rateIn(`${path}threshold`, trip.threshold), ...windowProblems(trip.window, trip.minimumCalls, path)]
    case "SlowCallRate":
      return [
        ...rateIn(`${path}threshold`, trip.threshold),
        ...durationIn(`${path}slowerThan`, trip.slowerThan, 0, Number.MAX_SAFE_INTEGER),
        ...windowProblems(trip.window, trip.minimumCalls, path)
      ]
    case "Any":
    case "All":
      return Array.isArray(trip.policies)
        ? [
          ...countIn(`${path}policies.length`, trip.policies.length, 1, 100),
          ...trip.policies.flatMap((policy, i) => problemsOf(policy, `${path}policies[${i}].`))
        ]
        : [{ field: `${path}policies`, value: trip.policies, range: "an array of trip policies" }]
  }
}

// A circuit counts slow calls once, by one duration for all its rules.
const slowProblems = (trip: Trip, path: string): ReadonlyArray<Problem> => {
  const slow = [...new Set(slowerThans(trip))]
  return slow.length < 2 ? [] : [{ field: `${path}slowerThan`, value: slow, range: "one duration for all policies" }]
}

const slowerThans = (trip: Trip): ReadonlyArray<number> => {
  switch (trip._tag) {
    case "SlowCallRate":
      return [millis(trip.slowerThan)]
    case "Any":
    case "All":
      return trip.policies.flatMap(slowerThans)
    default:
      return []
  }
}

const windowProblems = (window: Window, minimumCalls: number, path: string): ReadonlyArray<Problem> => {
  const minimum = (most: number) => countIn(`${path}minimumCalls`, minimumCalls, 1, most)
  if (!isObject(window) || !Object.hasOwn(windowFields, window._tag)) {
    return oneOf(`${path}window._tag`, (window as Window | undefined)?._tag, Object.keys(windowFields))
  }
  const unknown = fieldsIn(`${path}window.`, window, windowFields[window._tag])
  if (unknown.length > 0) return unknown
  switch (window._tag) {
    case "Within":
      return [
        ...durationIn(`${path}within`, window.duration, 1, LONGEST_WINDOW_MILLIS),
        ...minimum(Number.MAX_SAFE_INTEGER)
      ]
    case "LastCalls": {
      const found = countIn(`${path}lastCalls`, window.calls, 1, MOST_CALLS)
      return found.length > 0 ? found : minimum(window.calls)
    }
  }
}

const millis = (duration: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(duration))

const toWindow = (window: Window): RuleWindow =>
  window._tag === "Within"
    ? { _tag: "Within", duration: millis(window.duration) }
    : { _tag: "LastCalls", calls: window.calls }

/** The rule of a checked trip policy. */
export const toRule = (trip: Trip): TripRule => {
  switch (trip._tag) {
    case "ConsecutiveFailures":
      return { _tag: "ConsecutiveFailures", failures: trip.failures }
    case "Failures":
      return { _tag: "Failures", count: trip.count, window: toWindow({ _tag: "Within", duration: trip.within }) }
    case "FailureRate":
      return {
        _tag: "FailureRate",
        threshold: trip.threshold,
        minimumCalls: trip.minimumCalls,
        window: toWindow(trip.window)
      }
    case "SlowCallRate":
      return {
        _tag: "SlowCallRate",
        threshold: trip.threshold,
        slowerThan: millis(trip.slowerThan),
        minimumCalls: trip.minimumCalls,
        window: toWindow(trip.window)
      }
    case "Any":
    case "All":
      return { _tag: trip._tag, policies: trip.policies.map(toRule) }
  }
}
