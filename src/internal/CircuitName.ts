/** The names of circuits. */

/** The key of the one circuit that all keys share which found no room. No user's key is empty. */
export const OVERFLOW_KEY = ""

/** The prefix of a keyed breaker's circuits. It is unlike any other breaker's, because `/` in the breaker's name is written `~1`. */
export const prefixOf = (breaker: string): string => `${breaker.replaceAll("~", "~0").replaceAll("/", "~1")}/`

/** A circuit's name: the breaker's, or its prefix and the key. */
export const circuitName = (breaker: string, key: string | undefined): string =>
  key === undefined ? breaker : prefixOf(breaker) + key
