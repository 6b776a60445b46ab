/** Words of config that choose how breakers work, and the lines about those that say nothing. */
import type * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"

const TRUE = ["true", "yes", "on", "y", "1"]
const FALSE = ["false", "no", "off", "n", "0"]

/** The variable that switches the breakers of a process. */
export const ENABLED = "CIRCUIT_BREAKER_ENABLED"

export const TRUTH_ALLOWED = `one of ${[...TRUE, ...FALSE].join(", ")}`

/** The meaning of a word, in any case and with spaces around; `undefined` for an unknown word. */
export const truthOf = (text: string): boolean | undefined => {
  const word = text.trim().toLowerCase()
  return TRUE.includes(word) ? true : FALSE.includes(word) ? false : undefined
}

/** The lines that were logged, by the provider that they are about, so that a thousand breakers log them once. */
const loggedBy = new WeakMap<ConfigProvider.ConfigProvider, Set<string>>()

/** The most different lines about a provider. A source whose values change forever must not fill the memory. */
const MOST_LINES = 100

/** Logs a line about a provider, the first time. */
export const once = (
  provider: ConfigProvider.ConfigProvider,
  key: string,
  line: Effect.Effect<void>
): Effect.Effect<void> =>
  Effect.suspend(() => {
    let keys = loggedBy.get(provider)
    if (keys === undefined) loggedBy.set(provider, keys = new Set())
    if (keys.has(key) || keys.size === MOST_LINES) return Effect.void
    keys.add(key)
    return line
  })
