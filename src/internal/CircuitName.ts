/** The names of circuits. */
import { isReserved, RESERVED_PREFIX } from "../core/Reserved.ts"
import type { Problem } from "./Check.ts"

/** The key of the one circuit that all keys share which found no room. No user's key is empty. */
export const OVERFLOW_KEY = ""

/** The prefix of a keyed breaker's circuits. It is unlike any other breaker's, because `/` in the breaker's name is written `~1`. */
export const prefixOf = (breaker: string): string => `${breaker.replaceAll("~", "~0").replaceAll("/", "~1")}/`

/** A circuit's name: the breaker's, or its prefix and the key. */
export const circuitName = (breaker: string, key: string | undefined): string =>
  key === undefined ? breaker : prefixOf(breaker) + key

/** The problems of a breaker's name; empty for a good one. */
export const nameProblems = (name: string): ReadonlyArray<Problem> =>
  typeof name !== "string" || name === "" || !name.isWellFormed()
    ? [{ field: "name", value: name, range: "a well-formed text of at least one character" }]
    // A keyed breaker's circuits begin with its name and `/`.
    : isReserved(`${name}/`)
    ? [{ field: "name", value: name, range: `a name that does not begin with ${RESERVED_PREFIX}, which is reserved` }]
    : []
