/** The names of circuits. */
import { isReserved, RESERVED_PREFIX } from "../core/Reserved.ts"
import type { Problem } from "./Check.ts"

/** The key of the one circuit that all keys share which found no room. No user's key is empty. */
export const OVERFLOW_KEY = ""

/** A keyed breaker's name without `/`, and with `~` only before `0` and `1`. */
const escaped = (breaker: string): string => breaker.replaceAll("~", "~0").replaceAll("/", "~1")

/** The prefix of a keyed breaker's circuits. It is unlike any other breaker's, because `/` in the breaker's name is written `~1`. */
export const prefixOf = (breaker: string): string => `${escaped(breaker)}/`

const OVERFLOW = "~overflow"

/** The name of the circuit that keys share which found no room. No key's circuit has it, because those have a `/`. */
export const overflowName = (breaker: string): string => escaped(breaker) + OVERFLOW

/** The prefix of the keyed breaker to which a circuit of this name belongs, if there is one. */
export const prefixIn = (circuit: string): string => {
  const end = circuit.indexOf("/")
  return end === -1 && circuit.endsWith(OVERFLOW)
    ? `${circuit.slice(0, -OVERFLOW.length)}/`
    : circuit.slice(0, end + 1)
}

/** A circuit's name: the breaker's, or its prefix and the key. */
export const circuitName = (breaker: string, key: string | undefined): string => {
  if (key === undefined) return breaker
  return key === OVERFLOW_KEY ? overflowName(breaker) : prefixOf(breaker) + key
}

/** The problems of a breaker's name; empty for a good one. */
export const nameProblems = (name: string): ReadonlyArray<Problem> =>
  typeof name !== "string" || name === "" || !name.isWellFormed()
    ? [{ field: "name", value: name, range: "a well-formed text of at least one character" }]
    // A keyed breaker's circuits begin with its name and `/`.
    : isReserved(`${name}/`)
    ? [{ field: "name", value: name, range: `a name that does not begin with ${RESERVED_PREFIX}, which is reserved` }]
    : []
