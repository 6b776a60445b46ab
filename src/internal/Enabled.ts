/** What people write where breakers are switched on and off. */

/** The variable that switches the breakers of a process. */
export const ENABLED = "CIRCUIT_BREAKER_ENABLED"

export const ENABLED_ALLOWED = "one of true, yes, on, y, 1, false, no, off, n, 0"

const TRUE = ["true", "yes", "on", "y", "1"]
const FALSE = ["false", "no", "off", "n", "0"]

/** In any case and with spaces around; `undefined` for a text that is neither. */
export const enabledFrom = (text: string): boolean | undefined => {
  const word = text.trim().toLowerCase()
  return TRUE.includes(word) ? true : FALSE.includes(word) ? false : undefined
}
