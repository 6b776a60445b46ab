/** TOML by Effect's parser, which has no lines, and the lines of its keys. */
import * as Toml from "effect/encoding/Toml"
import * as Result from "effect/Result"
import { Lines, notParsed, type Parsed } from "./Document.ts"

export const parseToml = (text: string): Parsed =>
  Result.match(Toml.parse(text), {
    onSuccess: (value): Parsed => {
      let lines: Lines | undefined
      return { document: { value, lineOf: (path) => (lines ??= linesOf(text)).of(path) } }
    },
    onFailure: ({ message }) => {
      const [, what, line] = /^(.*) at line (\d+), column \d+$/.exec(message) ?? []
      const isTwice = what !== undefined && /duplicate|already|redefine/i.test(what)
      return notParsed(
        isTwice ? "TOML whose keys and tables differ: this one is there twice" : "valid TOML",
        line === undefined ? undefined : Number(line)
      )
    }
  })

const KEY = /\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([\w-]+))\s*/y

/** A dotted key at the beginning of a text, and where it ends. */
const keyAt = (text: string, from: number): { readonly path: ReadonlyArray<string>; readonly end: number } => {
  const path: Array<string> = []
  let end = from
  for (;;) {
    KEY.lastIndex = end
    const found = KEY.exec(text)
    if (found === null) return { path, end }
    path.push(found[1] ?? found[2] ?? found[3]!)
    end = KEY.lastIndex
    if (text[end] !== ".") return { path, end }
    end++
  }
}

/**
 * The lines of the keys of a text that is TOML. A table's header and a key begin a line; all other lines belong to a value, which ends
 * where its brackets and its quotes are closed.
 */
const linesOf = (text: string): Lines => {
  const lines = new Lines()
  let table: ReadonlyArray<string> = []
  let value = new OpenValue()
  for (const [i, line] of text.split("\n").entries()) {
    if (value.isOpen) {
      value.read(line)
      continue
    }
    const start = /^\s*\[{0,2}/.exec(line)![0]
    const { end, path } = keyAt(line, start.length)
    if (path.length === 0) continue
    const whole = start.includes("[") ? path : [...table, ...path]
    for (let length = 1; length <= whole.length; length++) lines.set(whole.slice(0, length), i + 1)
    if (start.includes("[")) table = path
    else {
      value = new OpenValue()
      value.read(line.slice(end + 1))
    }
  }
  return lines
}

const PART = /"""|'''|"(?:[^"\\]|\\.)*"|'[^']*'|[[\]{}]|#.*/g

/** A value that may go over several lines. */
class OpenValue {
  #depth = 0
  #quote: string | undefined = undefined

  get isOpen(): boolean {
    return this.#depth > 0 || this.#quote !== undefined
  }

  read(line: string): void {
    if (this.#quote !== undefined) {
      const end = line.indexOf(this.#quote)
      if (end === -1) return
      this.#quote = undefined
      return this.read(line.slice(end + 3))
    }
    for (const part of line.matchAll(PART)) {
      const [token] = part
      if (token === "\"\"\"" || token === "'''") {
        this.#quote = token
        return this.read(line.slice(part.index + 3))
      }
      if (token === "[" || token === "{") this.#depth++
      if (token === "]" || token === "}") this.#depth--
    }
  }
}
