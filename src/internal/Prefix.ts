/** What the names of a keyed breaker's circuits begin with. */
export const prefixOf = (name: string): string => `${name.replaceAll("~", "~0").replaceAll("/", "~1")}/`
