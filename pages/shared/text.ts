/** Numbers, times and names as text. */

/** Characters that would hide or reorder what stands around them: controls, and those that change the direction. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** A name or a reason with what cannot be seen made visible. */
export const visible = (text: string): string =>
  text.replace(HIDDEN, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)

const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]] as const

/** The two largest units of a duration: `1 h 5 min`. */
export const duration = (millis: number): string => {
  if (millis < 1000) return `${Math.max(0, Math.round(millis))} ms`
  const at = UNITS.findIndex(([, size]) => millis >= size)
  const [unit, size] = UNITS[at]!
  const whole = Math.floor(millis / size)
  const next = UNITS[at + 1]
  const rest = next === undefined ? 0 : Math.floor((millis - whole * size) / next[1])
  return rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${next![0]}`
}

/** A number of calls a second. */
export const rate = (perSecond: number): string =>
  perSecond === 0 ? "0/s" : perSecond < 10 ? `${perSecond.toFixed(1)}/s` : `${Math.round(perSecond)}/s`

export const percent = (share: number): string => `${Math.round(share * 100)} %`

export const clockTime = (at: number): string => new Date(at).toLocaleTimeString()
