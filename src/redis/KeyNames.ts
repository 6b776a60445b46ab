/**
 * The names of a circuit's keys: the prefix, and the circuit's name as the hash tag, so that a Cluster keeps them in
 * one slot.
 */

/** The keys of one circuit, in the order in which the scripts take them. */
export type CircuitKeys = readonly [record: string, window: string, leases: string, instances: string, history: string]

const ESCAPED = /[\p{Cc}%{}]/gu

/** Escapes control characters, which cannot be typed, the braces of hash tags, and `%`. */
const escape = (text: string): string =>
  text.replaceAll(ESCAPED, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)

const unescape = (text: string): string =>
  text.replaceAll(/%([0-9A-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))

/** A text as a pattern that matches it alone. */
const literal = (text: string): string => text.replaceAll(/[*?[\]\\^]/g, (sign) => `\\${sign}`)

/** The tag of the circuit with the empty name. Redis ignores an empty hash tag, so the keys would be in many slots. */
const EMPTY = "%"

export class KeyNames {
  /** The channel on which changes are announced. */
  readonly channel: string
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = escape(prefix)
    this.channel = `${this.#prefix}changes`
  }

  /** The pattern of the records of all circuits, of a client that puts `clientPrefix` before each key. */
  recordPattern(clientPrefix: string): string {
    return `${literal(clientPrefix + this.#prefix)}{*}`
  }

  /** The pattern of all keys of all circuits. */
  pattern(clientPrefix: string): string {
    return `${this.recordPattern(clientPrefix)}*`
  }

  /** The keys of the bell, in one slot: the times at which circuits rang, and what they told. No circuit has such a key. */
  get bell(): readonly [times: string, told: string] {
    const times = `${this.#prefix}bell{bell}`
    return [times, `${times}:told`]
  }

  of(circuit: string): CircuitKeys {
    const record = `${this.#prefix}{${circuit === "" ? EMPTY : escape(circuit)}}`
    return [record, `${record}:window`, `${record}:leases`, `${record}:instances`, `${record}:history`]
  }

  /** The circuit of a key on the server. `undefined` if the key is not a circuit's. */
  circuitOf(key: string, clientPrefix: string): string | undefined {
    const prefix = clientPrefix + this.#prefix
    const tag = key.startsWith(prefix)
      ? /^\{([^{}]+)\}(?::(?:window|leases|instances|history))?$/s.exec(key.slice(prefix.length))?.[1]
      : undefined
    if (tag === undefined) return undefined
    return tag === EMPTY ? "" : unescape(tag)
  }
}
