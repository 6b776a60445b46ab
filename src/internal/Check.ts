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

/** Whether a value is an object with fields, and neither a function nor an array. */
export const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** An object with these fields and no others. `path` leads to its fields in the messages. */
export const fieldsIn = (
  path: string,
  value: unknown,
  known: ReadonlyArray<string>
): ReadonlyArray<Problem> =>
  isObject(value)
    ? Object.entries(value).flatMap(([key, value]) =>
      known.includes(key) ? [] : [{ field: path + key, value, range: `left out, because ${noSuchField(key, known)}` }]
    )
    : [{
      field: path === "" ? "options" : path.slice(0, -1),
      value,
      range: `an object with the fields ${known.join(", ")}`
    }]

const noSuchField = (key: string, known: ReadonlyArray<string>): string => {
  const near = nearest(key, known)
  return near === undefined
    ? `the only fields are ${known.join(", ")}`
    : `there is no such field (did you mean ${near}?)`
}

/** The word that a misspelt one most probably means; `undefined` where none is near enough to be a guess. */
export const nearest = (misspelt: string, words: ReadonlyArray<string>): string | undefined => {
  const plain = (word: string): string => word.toLowerCase().replaceAll("_", "")
  const [best] = words
    .map((word) => ({ word, distance: distanceOf(plain(misspelt), plain(word)) }))
    .toSorted((a, b) => a.distance - b.distance)
  return best !== undefined && best.distance <= Math.ceil(plain(best.word).length / 4) ? best.word : undefined
}

/** How many letters must be added, left out, replaced, or swapped with the next, to make one text the other. */
const distanceOf = (from: string, to: string): number => {
  // Words are short, and a long text is near to none of them.
  if (Math.abs(from.length - to.length) > 8) return Infinity
  let beforeLast: ReadonlyArray<number> = []
  let last: ReadonlyArray<number> = Array.from({ length: to.length + 1 }, (_, j) => j)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1]
      const isSwapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
      row.push(Math.min(
        row[j - 1]! + 1,
        last[j]! + 1,
        last[j - 1]! + (isSame ? 0 : 1),
        isSwapped ? beforeLast[j - 2]! + 1 : Infinity
      ))
    }
    beforeLast = last
    last = row
  }
  return last[to.length]!
}

/**
 * Text that a person can read on one line of a log, a terminal or a page: well-formed, and without characters that control
 * how the text around them is shown.
 */
export const lineIn = (field: string, value: unknown, most: number): ReadonlyArray<Problem> =>
  typeof value === "string" && value.trim() !== "" && value.length <= most && value.isWellFormed() &&
    !CONTROLS.test(value)
    ? none
    : [{ field, value, range: `a text of 1 to ${most} characters on one line, without control characters` }]

/** Control characters, line and paragraph separators, and those that change the direction of the text around them. */
const CONTROLS = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u

/** One of a few words. */
export const oneOf = (field: string, value: unknown, words: ReadonlyArray<string>): ReadonlyArray<Problem> =>
  words.includes(value as string) ? none : [{ field, value, range: `one of ${words.join(", ")}` }]
