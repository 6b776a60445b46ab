/** Keys of Effect's breaker, which may be any text, as keys of ours, which are well-formed and have at least one character. */

/** Another key for each, but for texts that are not well-formed. Only those of nothing but `~` are changed, by one `~` more. */
export const keyFor = (key: string): string => /^~*$/.test(key) ? `${key}~` : key.toWellFormed()

/** The key that `keyFor` made this of. */
export const keyFrom = (key: string): string => /^~+$/.test(key) ? key.slice(1) : key
