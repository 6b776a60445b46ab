/**
 * Reads JSON that a storage kept, and says which field holds which value where it is not as expected. A value is
 * checked and not decoded, so fields that this version does not know are kept.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { shown } from "./Check.ts"

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
    : `${field} holds ${shown(valueAt(input, keys))}, ${expectedOf(message)}`
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
        : `it holds ${shown(input)}, which is not JSON`
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
      throw new Error(`it holds ${shown(text)}, expected JSON`, { cause })
    }
    return check(input)
  }
}
