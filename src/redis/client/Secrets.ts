/**
 * Removes secrets from errors. A server or a proxy may quote what it was sent, and cut the quote anywhere, so a secret
 * may stand in any text of an error, and only its beginning.
 */

const REDACTED = "<redacted>"

/** A shorter beginning of a secret is likely to be an ordinary word. */
const SHORTEST_BEGINNING = 6

/** Errors may contain each other, in a circle or in a long chain. */
const MOST_ERRORS = 100

export class Secrets {
  readonly #secrets: ReadonlyArray<string>

  constructor(secrets: ReadonlyArray<string | undefined>) {
    // The longest first, because one may be a part of another.
    this.#secrets = secrets
      .flatMap((secret) => secret === undefined || secret === "" ? [] : [secret, JSON.stringify(secret).slice(1, -1)])
      .sort((a, b) => b.length - a.length)
  }

  /** The text without secrets. */
  redacted(text: string): string {
    return this.#secrets.reduce((rest, secret) => withoutBeginning(rest.replaceAll(secret, REDACTED), secret), text)
  }

  /** The error without secrets, and without the arguments of the command that it is about. Changes the error. */
  scrubbed(error: unknown): unknown {
    this.#scrub(error, new Set())
    return typeof error === "string" ? this.redacted(error) : error
  }

  #scrub(error: unknown, seen: Set<unknown>): void {
    if (typeof error !== "object" || error === null || seen.has(error) || seen.size === MOST_ERRORS) return
    seen.add(error)
    for (const key of Reflect.ownKeys(error)) {
      const property = Object.getOwnPropertyDescriptor(error, key)
      if (property === undefined || !("value" in property)) {
        // The stack of an error may be computed when it is read.
        if (key === "stack") this.#replace(error, key, Reflect.get(error, key))
        continue
      }
      const { value } = property
      if (key === "command") Reflect.set(error, key, commandName(value))
      else if (typeof value === "string") this.#replace(error, key, value)
      else this.#scrub(value, seen)
    }
  }

  #replace(error: object, key: PropertyKey, value: unknown): void {
    if (typeof value !== "string") return
    const redacted = this.redacted(value)
    if (redacted !== value) Object.defineProperty(error, key, { value: redacted, configurable: true, writable: true })
  }
}

const commandName = (command: unknown): object =>
  typeof command === "object" && command !== null && "name" in command ? { name: command.name } : {}

/** The text without the longest beginning of a secret that it has, wherever that stands. */
const withoutBeginning = (text: string, secret: string): string => {
  let rest = text
  for (let at = rest.indexOf(secret.slice(0, SHORTEST_BEGINNING)); secret.length > SHORTEST_BEGINNING && at >= 0;) {
    let length = SHORTEST_BEGINNING
    while (length < secret.length && rest[at + length] === secret[length]) length++
    rest = rest.slice(0, at) + REDACTED + rest.slice(at + length)
    at = rest.indexOf(secret.slice(0, SHORTEST_BEGINNING), at + REDACTED.length)
  }
  return rest
}
