/** Checks of options. Each problem names the field, the value and the range. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** The longest duration of most options. */
export const YEAR_MILLIS = 365 * 24 * 60 * 60 * 1000

export interface Problem {
  readonly field: string
  readonly value: unknown
  readonly range: string
}

/** A problem in words. */
export const inWords = ({ field, range, value }: Problem): string => `${field} must be ${range}, got ${shown(value)}`

/** A value for a message: texts in quotes, and cut to 100 characters because it may come from anywhere. */
export const shown = (value: unknown): string => {
  const text = typeof value === "number" || typeof value === "boolean" || value === undefined
    ? String(value)
    : typeof value === "bigint"
    ? `${value}n`
    : quoted(value)
  return text.length > 100 ? `${text.slice(0, 100)}…` : text
}

const quoted = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return typeof value
  }
}

/** Throws a `RangeError` that names all problems, if there are any. */
export const refuse = (what: string, problems: ReadonlyArray<Problem>): void => {
  if (problems.length > 0) throw new RangeError(`${what}: ${problems.map(inWords).join("; ")}`)
}

const none: ReadonlyArray<Problem> = []

const between = (least: number, most: number, unit = ""): string =>
  most === Number.MAX_SAFE_INTEGER ? `at least ${least}${unit}` : `from ${least}${unit} to ${most}${unit}`

/** A whole number in a range. */
export const countIn = (field: string, value: number, least: number, most: number): ReadonlyArray<Problem> =>
  Number.isSafeInteger(value) && value >= least && value <= most
    ? none
    : [{ field, value, range: `a whole number ${between(least, most)}` }]

/** A rate from 0 to 1. */
export const rateIn = (field: string, value: number): ReadonlyArray<Problem> =>
  Number.isFinite(value) && value >= 0 && value <= 1 ? none : [{ field, value, range: "a rate in [0, 1]" }]

/** A finite duration in a range of milliseconds. */
export const durationIn = (
  field: string,
  value: Duration.Input,
  least: number,
  most: number
): ReadonlyArray<Problem> => {
  // Effect would take NaN for a duration of zero.
  const millis = Number.isNaN(value) ? Option.none() : Option.map(Duration.fromInput(value), Duration.toMillis)
  return Option.isSome(millis) && Number.isFinite(millis.value) && millis.value >= least && millis.value <= most
    ? none
    : [{ field, value, range: `a finite duration ${between(least, most, " ms")}` }]
}

/** One of a few words. */
export const oneOf = (field: string, value: unknown, words: ReadonlyArray<string>): ReadonlyArray<Problem> =>
  words.includes(value as string) ? none : [{ field, value, range: `one of ${words.join(", ")}` }]
