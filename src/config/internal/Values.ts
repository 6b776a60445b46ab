/** Reads single values: those of a file as its format has them, those of the environment from text. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { isObject, nearest } from "../../internal/Check.ts"
import { type Kind, snakeCase } from "../../internal/PolicyFields.ts"
import { problems as tripProblems } from "../../internal/TripCheck.ts"
import type { Trip } from "../../Trip.ts"
import { type At, type Inside, type Problem, problemAt } from "./Problem.ts"

/** The values that a kind takes, in words. Ranges of numbers are left to the policy, which checks them. */
export const allowedFor = (kind: Kind): string => {
  switch (kind) {
    case "duration":
      return "a number of seconds, or a text with a unit such as \"250 millis\" or \"2 minutes\""
    case "count":
      return "a whole number of at least 1"
    case "factor":
      return "a number of at least 1"
    case "rate":
      return "a rate in [0, 1]"
    case "share or false":
      return "a share above 0 and up to 1, or false"
    case "trip":
      return "a trip policy: an object with _tag and its fields"
    default:
      return `one of ${kind.join(", ")}`
  }
}

/** A value that was read, or what is wrong with it. */
export type Read = { readonly value: unknown } | { readonly problems: ReadonlyArray<Problem> }

const refused = (at: At, allowed: string): Read => ({ problems: [problemAt(at, allowed)] })

/** Whether the value is from the environment, which has only texts. */
type Origin = "file" | "environment"

export const readValue = (kind: Kind, at: At, origin: Origin, inside: Inside): Read => {
  switch (kind) {
    case "duration": {
      const duration = durationOf(at.value, origin)
      return duration === undefined ? refused(at, allowedFor(kind)) : { value: duration }
    }
    case "count":
    case "factor":
    case "rate": {
      const number = numberOf(at.value, origin)
      return number === undefined ? refused(at, allowedFor(kind)) : { value: number }
    }
    case "share or false": {
      if (at.value === false || (origin === "environment" && at.value === "false")) return { value: false }
      const number = numberOf(at.value, origin)
      return number === undefined ? refused(at, allowedFor(kind)) : { value: number }
    }
    case "trip":
      return readTrip(at, origin, inside)
    default:
      return readWord(kind, at)
  }
}

const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/

const numberOf = (value: unknown, origin: Origin): number | undefined => {
  if (typeof value === "number" && !Number.isNaN(value)) return value
  if (origin === "file" || typeof value !== "string") return undefined
  const text = value.trim()
  return NUMBER.test(text) ? Number(text) : undefined
}

/** A bare number is seconds. A text in a file is never bare, because YAML and TOML have numbers; one of the environment may be. */
const durationOf = (value: unknown, origin: Origin): Duration.Duration | undefined => {
  const seconds = numberOf(value, origin)
  if (seconds !== undefined) {
    return Number.isFinite(seconds) && seconds >= 0 ? Duration.millis(seconds * 1000) : undefined
  }
  if (typeof value !== "string" || value.length > 100) return undefined
  const duration = Option.getOrUndefined(Duration.fromInput(value.trim() as Duration.Input))
  return duration !== undefined && Duration.toMillis(duration) >= 0 ? duration : undefined
}

const readWord = (words: ReadonlyArray<string>, at: At): Read => {
  const word = typeof at.value === "string" ? at.value.trim() : undefined
  if (word !== undefined && words.includes(word)) return { value: word }
  const near = word === undefined ? undefined : nearest(word, words)
  return refused(at, `one of ${words.join(", ")}${near === undefined ? "" : ` (did you mean ${near}?)`}`)
}

// -----------------------------------------------------------------------------
// trip policies
// -----------------------------------------------------------------------------

/** Deeper than anybody combines trip policies, and no danger to the stack. */
const DEEPEST_TRIP = 16

const TRIP_DURATIONS = ["within", "slowerThan", "duration"]

const readTrip = (at: At, origin: Origin, inside: Inside): Read => {
  const value = origin === "environment" ? jsonOf(at.value) : at.value
  if (isObject(value)) return tripFrom({ ...at, value }, origin, inside)
  return refused(at, origin === "environment" ? "a trip policy as JSON" : allowedFor("trip"))
}

const jsonOf = (value: unknown): object | undefined => {
  try {
    const json: unknown = JSON.parse(String(value))
    return isObject(json) ? json : undefined
  } catch {
    return undefined
  }
}

const tripFrom = (at: At, origin: Origin, inside: Inside): Read => {
  const found: Array<Problem> = []
  const trip = plain(at, { origin, inside, found }, 0) as Trip
  if (found.length > 0) return { problems: found }
  const problems = tripProblems(trip, "").map(({ field, range, value }) => {
    const names = field.replaceAll(/\[(\d+)\]/g, ".$1").split(".")
    const place = names.reduce((at, name) => inside(at, name === "_tag" ? name : snakeCase(name), undefined), at)
    return problemAt({ ...place, value }, range)
  })
  return problems.length > 0 ? { problems } : { value: trip }
}

interface Reading {
  readonly origin: Origin
  readonly inside: Inside
  readonly found: Array<Problem>
}

/**
 * The names of a trip policy as the library has them, and its durations. It takes both `minimum_calls` and `minimumCalls`, because the
 * JSON of `Breaker.Data` has the latter.
 */
const plain = (at: At, reading: Reading, depth: number): unknown => {
  const { found, inside } = reading
  const { value } = at
  const isArray = Array.isArray(value)
  if (!isArray && !isObject(value)) return value
  if (depth > DEEPEST_TRIP) {
    found.push(problemAt({ ...at, value: undefined }, `nested no deeper than ${DEEPEST_TRIP} levels`))
    return undefined
  }
  if (isArray) return value.map((element, i) => plain(inside(at, String(i), element), reading, depth + 1))
  const members = new Map<string, unknown>()
  for (const [key, member] of Object.entries(value)) {
    const name = key === "_tag" ? key : key.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    const here = inside(at, key, member)
    if (members.has(name)) {
      found.push(problemAt(here, `left out, because ${snakeCase(name)} is given by another name, too`))
    }
    members.set(name, TRIP_DURATIONS.includes(name) ? tripDuration(here, reading) : plain(here, reading, depth + 1))
  }
  return Object.fromEntries(members)
}

/**
 * The JSON of a variable is read by `Breaker.config`, too, for which a bare number in it is milliseconds. So here a number is refused:
 * no program should wait a thousand times too long because it reads the variable by another function.
 */
const tripDuration = (at: At, { found, origin }: Reading): unknown => {
  const isAmbiguous = origin === "environment" && typeof at.value === "number"
  const duration = isAmbiguous ? undefined : durationOf(at.value, "file")
  if (duration === undefined) {
    const allowed = origin === "environment"
      ? "a text with its unit, such as \"30 seconds\", because a bare number in this JSON can be taken for milliseconds"
      : allowedFor("duration")
    found.push(problemAt(at, allowed))
  }
  return duration
}
