/**
 * A problem of a configuration, and its message.
 *
 * A file and its values may come from anywhere, so every text is cut and written on one line. What may be a secret is not shown.
 */
import { isDate } from "effect/Predicate"
import * as Schema from "effect/Schema"
import { shown } from "../../internal/Check.ts"

/**
 * Something that is wrong with a configuration.
 *
 * @category errors
 * @since 0.1.0
 */
export interface Problem {
  /** A variable's name, `PAYMENTS_TIMEOUT`, or a file's path. */
  readonly source: string
  /** The line in a file, from 1. */
  readonly line?: number | undefined
  /** `circuit_breaker.services.payments.timeout`, or the variable's name. */
  readonly path: string
  /** The value, cut to 100 characters; for an object or an array, what it is. `(not shown)` where it may be a secret. */
  readonly got: unknown
  /** The expected values, in words. For an unknown key, the known one that is most like it. */
  readonly allowed: string
}

const MOST_PROBLEMS = 50

/** A problem on one line. */
export const inWords = ({ allowed, got, line, path, source }: Problem): string => {
  const place = sourceOf({ line, source })
  const field = path === source || path === "" ? "" : ` ${path}`
  const value = typeof got === "string" && got.startsWith("(") ? got : shown(got)
  return oneLine(`${place}:${field} must be ${allowed}${got === undefined ? "" : `, got ${value}`}`)
}

/**
 * A configuration that cannot be used, with all of its problems at once. The message has a line for each, which begins with
 * `file:line` or with the variable's name. Neither holds a URL, a password or anything else that looks like a secret.
 *
 * @category errors
 * @since 0.1.0
 */
export class BreakerConfigError extends Schema.TaggedError<BreakerConfigError>(
  "effect-breaker/config/BreakerConfigError"
)("BreakerConfigError", {
  problems: Schema.Array(Schema.Struct({
    source: Schema.String,
    line: Schema.optional(Schema.Finite),
    path: Schema.String,
    got: Schema.Unknown,
    allowed: Schema.String
  }))
}) {
  override get message(): string {
    const lines = this.problems.slice(0, MOST_PROBLEMS).map(inWords)
    const more = this.problems.length - lines.length
    return [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join("\n")
  }
}

/** A place in a configuration and the value that it holds. */
export interface At {
  readonly source: string
  readonly line: number | undefined
  readonly path: ReadonlyArray<string>
  readonly value: unknown
}

/** The place of a key of a place's value. A file knows its line. */
export type Inside = (at: At, key: string, value: unknown) => At

/** Where lines are not known, or all is on one. */
export const insideOf: Inside = (at, key, value) => ({ ...at, path: [...at.path, key], value })

/** A problem of the value at a place. */
export const problemAt = ({ line, path, source, value }: At, allowed: string): Problem => ({
  source,
  ...(line === undefined ? {} : { line }),
  path: pathOf(path),
  got: described(path, value),
  allowed: oneLine(allowed)
})

/** Where a value comes from: `breakers.yaml:3`, or a variable. */
export const sourceOf = ({ line, source }: { readonly line?: number | undefined; readonly source: string }): string =>
  line === undefined ? source : `${source}:${line}`

const HIDDEN = "(not shown)"

/** Words in keys whose values are not shown, and the user's part of a URL. */
const SECRET = /pass|pwd|secret|token|cred|auth|private|api_?key|url|uri|dsn|connection/i
const WITH_USER = /:\/\/[^/\s]*@/

const described = (path: ReadonlyArray<string>, value: unknown): unknown => {
  if (path.some((name) => name === "redis" || SECRET.test(name))) return HIDDEN
  if (typeof value === "string") return WITH_USER.test(value) ? HIDDEN : value.slice(0, 101)
  if (Array.isArray(value)) return "(an array)"
  if (isDate(value)) return "(a date)"
  return typeof value === "object" && value !== null ? "(an object)" : value
}

/** `services."a b".timeout`: keys that are no plain words are quoted and cut. */
export const pathOf = (path: ReadonlyArray<string>): string =>
  path.map((name) => /^[\w-]{1,100}$/.test(name) ? name : shown(name)).join(".")

/** Characters that would begin a new line or change the direction of the text around them, and halves of characters. */
const CONTROLS = /[\p{Cc}\p{Cs}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/** The text on one line, with escapes in place of control characters. */
export const oneLine = (text: string): string =>
  text.replaceAll(CONTROLS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)
