/**
 * Reads JSON that a storage kept, and says which field holds which value where it is not as expected. A value is
 * checked and not decoded, so fields that this version does not know are kept.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

/** Characters of a value that an error quotes: it may come from anywhere. */
const LONGEST_QUOTE = 100

/** A value for an error message, cut to a sane length. */
export const quoted = (value: unknown): string => {
  const text = (typeof value === "number" ? undefined : JSON.stringify(value)) ?? String(value)
  return text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text
}

type Path = ReadonlyArray<PropertyKey>

const fieldOf = (path: Path): string =>
  path.map((key, index) => typeof key === "number" ? `[${key}]` : `${index === 0 ? "" : "."}${String(key)}`).join("")

const valueAt = (input: unknown, path: Path): unknown =>
  path.reduce<unknown>((value, key) => (value as Readonly<Record<PropertyKey, unknown>>)[key], input)

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1()

const expectedOf = (message: string): string =>
  message
    .replace(/^Expected (?=(number|string|boolean)$)/, "expected a ")
    .replace(/^Expected (?=(object|array)$)/, "expected an ")
    .replace(/^Expected /, "expected ")

const problemOf = (input: unknown, issue: SchemaIssue.Issue): string => {
  const { message, path = [] } = issuesOf(issue).issues[0]!
  const keys = path as Path
  const field = keys.length === 0 ? "it" : `field ${fieldOf(keys)}`
  return message === "Missing key"
    ? `${field} is missing`
    : `${field} holds ${quoted(valueAt(input, keys))}, ${expectedOf(message)}`
}

/**
 * Checks a value against a schema whose decoded form is its encoded one. Throws an error that names the first bad
 * field.
 */
export const checkerOf = <A>(schema: Schema.Codec<A>): (input: unknown) => A => {
  const decode = Schema.decodeUnknownResult(schema)
  const is = Schema.is(schema)
  return (input) => {
    if (is(input)) return input
    const decoded = decode(input)
    throw new Error(
      Result.isFailure(decoded)
        ? problemOf(input, decoded.failure.issue)
        : `it holds ${quoted(input)}, which is not JSON`
    )
  }
}

/** Reads text as JSON and checks it. Throws an error that names the first bad field. */
export const readerOf = <A>(schema: Schema.Codec<A>): (text: string) => A => {
  const check = checkerOf(schema)
  return (text) => {
    let input: unknown
    try {
      input = JSON.parse(text)
    } catch (cause) {
      throw new Error(`it holds ${quoted(text)}, expected JSON`, { cause })
    }
    return check(input)
  }
}
