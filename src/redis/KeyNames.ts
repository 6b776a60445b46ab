/**
 * The names of a circuit's keys: the prefix, and the circuit's name as the hash tag, so that a Cluster keeps them in
 * one slot.
 */

/** The keys of one circuit, in the order in which the scripts take them. */
export interface CircuitKeys {
  readonly all: readonly [record: string, window: string, leases: string, instances: string, history: string]
  readonly history: string
}

const ESCAPED = /[\p{Cc}%{}]/gu

/** Escapes control characters, which cannot be typed, the braces of hash tags, and `%`. */
const escape = (text: string): string =>
  text.replaceAll(ESCAPED, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)

const unescape = (text: string): string =>
  text.replaceAll(/%([0-9A-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))

/** The tag of the circuit with the empty name. Redis ignores an empty hash tag, so the keys would be in many slots. */
const EMPTY = "%"

export class KeyNames {
  /** The pattern of the records of all circuits. */
  readonly recordPattern: string
  /** The pattern of all keys of all circuits. */
  readonly pattern: string
  /** The channel on which changes are announced. */
  readonly channel: string
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = escape(prefix)
    const literal = this.#prefix.replaceAll(/[*?[\]\\^]/g, (sign) => `\\${sign}`)
    this.recordPattern = `${literal}{*}`
    this.pattern = `${literal}{*}*`
    this.channel = `${this.#prefix}changes`
  }

  of(circuit: string): CircuitKeys {
    const record = `${this.#prefix}{${circuit === "" ? EMPTY : escape(circuit)}}`
    const history = `${record}:history`
    return { all: [record, `${record}:window`, `${record}:leases`, `${record}:instances`, history], history }
  }

  /** The circuit of a key. `undefined` if the key is not a circuit's. */
  circuitOf(key: string): string | undefined {
    const tag = key.startsWith(this.#prefix)
      ? /^\{([^{}]+)\}(?::(?:window|leases|instances|history))?$/s.exec(key.slice(this.#prefix.length))?.[1]
      : undefined
    if (tag === undefined) return undefined
    return tag === EMPTY ? "" : unescape(tag)
  }
}
