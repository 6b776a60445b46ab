/**
 * JSON with the lines of its keys. It takes what `JSON.parse` takes, except for keys that are given twice, of which `JSON.parse` would
 * keep the last one in silence, and it says on which line it stopped without quoting the text.
 */
import { isTagged } from "effect/Predicate"
import { Lines, notParsed, type Parsed } from "./Document.ts"

const DEEPEST = 64

/** A token, and the space before it. Whether a text's escapes are right, `JSON.parse` says. */
const TOKEN =
  /[ \t\n\r]*(?:([{}[\]:,])|("[^"\\]*(?:\\.[^"\\]*)*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))/sy

class NotJson {
  readonly _tag = "NotJson"
  readonly allowed: string
  readonly path: ReadonlyArray<string>
  constructor(allowed: string, path: ReadonlyArray<string> = []) {
    this.allowed = allowed
    this.path = path
  }
}

const isNotJson = (error: unknown): error is NotJson => isTagged(error, "NotJson")

class Parser {
  readonly #text: string
  readonly lines = new Lines()
  #at = 0
  #start = 0
  #line = 1
  #token = ""

  constructor(text: string) {
    this.#text = text
    this.#next()
  }

  get line(): number {
    return this.#line
  }

  whole(): unknown {
    const value = this.#value([])
    if (this.#token !== "") throw new NotJson("one JSON value")
    return value
  }

  /** The next token; an empty text at the end. */
  #next(): void {
    TOKEN.lastIndex = this.#at
    const found = TOKEN.exec(this.#text)
    const end = found === null ? this.#at + /^[ \t\n\r]*/.exec(this.#text.slice(this.#at))![0].length : TOKEN.lastIndex
    this.#token = found === null ? "" : found[1] ?? found[2] ?? found[3]!
    this.#start = end - this.#token.length
    for (let i = this.#at; i < this.#start; i++) if (this.#text[i] === "\n") this.#line++
    this.#at = end
    if (found === null && end < this.#text.length) throw new NotJson("valid JSON")
  }

  #take(token: string): boolean {
    if (this.#token !== token) return false
    this.#next()
    return true
  }

  #expect(token: string): void {
    if (!this.#take(token)) throw new NotJson(`valid JSON, with ${token} here`)
  }

  #value(path: ReadonlyArray<string>): unknown {
    if (path.length > DEEPEST) throw new NotJson(`nested no deeper than ${DEEPEST} levels`, path.slice(0, 8))
    if (this.#take("{")) return this.#object(path)
    if (this.#take("[")) return this.#array(path)
    const token = this.#token
    if (token === "" || "}]:,".includes(token)) throw new NotJson("valid JSON, with a value here", path)
    const value = this.#literal(path)
    this.#next()
    return value
  }

  #literal(path: ReadonlyArray<string>): unknown {
    try {
      return JSON.parse(this.#token)
    } catch {
      throw new NotJson("valid JSON, without control characters and with escapes that JSON has", path)
    }
  }

  #object(path: ReadonlyArray<string>): object {
    const members = new Map<string, unknown>()
    if (this.#take("}")) return {}
    do {
      if (!this.#token.startsWith("\"")) throw new NotJson("valid JSON, with a key in double quotes here")
      const key = this.#literal(path) as string
      if (members.has(key)) throw new NotJson("an object whose keys differ: this one is there twice", [...path, key])
      const inner = [...path, key]
      this.lines.set(inner, this.#line)
      this.#next()
      this.#expect(":")
      members.set(key, this.#value(inner))
    } while (this.#take(","))
    this.#expect("}")
    return Object.fromEntries(members)
  }

  #array(path: ReadonlyArray<string>): ReadonlyArray<unknown> {
    const elements: Array<unknown> = []
    if (this.#take("]")) return elements
    do {
      const inner = [...path, String(elements.length)]
      this.lines.set(inner, this.#line)
      elements.push(this.#value(inner))
    } while (this.#take(","))
    this.#expect("]")
    return elements
  }
}

export const parseJson = (text: string): Parsed => {
  let parser: Parser | undefined
  try {
    parser = new Parser(text)
    return { document: { value: parser.whole(), lineOf: parser.lines.of } }
  } catch (error) {
    if (!isNotJson(error)) throw error
    return notParsed(error.allowed, parser?.line ?? 1, error.path)
  }
}
