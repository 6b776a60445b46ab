/** YAML by the package yaml, with the lines of its keys. */
import * as Effect from "effect/Effect"
import { isTagged } from "effect/Predicate"
import type { Alias, Document, Node, YAMLMap } from "yaml"
import { type Yaml, yaml } from "../../internal/drivers/Yaml.ts"
import { Lines, notParsed, type Parsed } from "./Document.ts"

const DEEPEST = 64

/** How many nodes a document has once its aliases are replaced by what they stand for. */
const MOST_NODES = 50_000

/** How many aliases are followed. Each is looked up in the whole document. */
const MOST_ALIASES = 2000

const NO_ANCHOR = "YAML whose aliases have an anchor before them"
const NOT_DEEP = "YAML that is not nested deeply"

/** The parser's error codes in words. Its own messages are not shown, because they may quote the text. */
const meanings: Readonly<Record<string, string>> = {
  BLOCK_AS_IMPLICIT_KEY: "YAML with one key on a line, and with quotes around a text that has a colon",
  MISSING_CHAR: "YAML whose quotes and brackets are closed",
  RESOURCE_EXHAUSTION: NOT_DEEP,
  BAD_ALIAS: NO_ANCHOR,
  BAD_INDENT: "YAML with an indentation that fits to the lines before",
  MULTIPLE_DOCS: "one YAML document",
  TAB_AS_INDENT: "indented by spaces, not by tabs",
  TAG_RESOLVE_FAILED: "YAML without tags of its own"
}

class NotYaml {
  readonly _tag = "NotYaml"
  readonly allowed: string
  readonly node: Node | undefined
  readonly path: ReadonlyArray<string>
  constructor(allowed: string, node: unknown, path: ReadonlyArray<string>) {
    this.allowed = allowed
    this.node = node as Node | undefined
    this.path = path
  }
}

const isNotYaml = (error: unknown): error is NotYaml => isTagged(error, "NotYaml")

/** Makes plain data of a document's nodes. Each key that it meets gets its line. */
class Reader {
  readonly lines = new Lines()
  readonly #yaml: Yaml
  readonly #document: Document
  readonly #lineOf: (node: Node | null | undefined) => number | undefined
  /** The collections that the reader is in, so that an alias cannot lead back into one. */
  readonly #around = new Set<unknown>()
  #nodes = 0
  #aliases = 0

  constructor(yaml: Yaml, document: Document, lineOf: (node: Node | null | undefined) => number | undefined) {
    this.#yaml = yaml
    this.#document = document
    this.#lineOf = lineOf
  }

  read(node: unknown, path: ReadonlyArray<string>): unknown {
    const { isAlias, isMap, isScalar, isSeq } = this.#yaml
    if (++this.#nodes > MOST_NODES) {
      throw new NotYaml(`at most ${MOST_NODES} nodes, with what its aliases stand for`, node, path)
    }
    if (node === null || node === undefined) return null
    if (isAlias(node)) return this.#alias(node, path)
    if (isScalar(node)) return node.value
    if (path.length > DEEPEST) throw new NotYaml(`nested no deeper than ${DEEPEST} levels`, node, path.slice(0, 8))
    if (isMap(node)) return this.#inside(node, () => this.#map(node, path))
    if (!isSeq(node)) throw new NotYaml("YAML of mappings, sequences and scalars", node, path)
    return this.#inside(node, () =>
      node.items.map((item, i) => {
        const inner = [...path, String(i)]
        this.#place(inner, item as Node | null)
        return this.read(item, inner)
      }))
  }

  #place(path: ReadonlyArray<string>, node: Node | null | undefined): void {
    const line = this.#lineOf(node)
    if (line !== undefined) this.lines.set(path, line)
  }

  #inside<A>(node: unknown, read: () => A): A {
    this.#around.add(node)
    const value = read()
    this.#around.delete(node)
    return value
  }

  #alias(alias: Alias, path: ReadonlyArray<string>): unknown {
    if (++this.#aliases > MOST_ALIASES) {
      throw new NotYaml(`YAML whose aliases are followed at most ${MOST_ALIASES} times`, alias, path)
    }
    const node = alias.resolve(this.#document)
    if (node === undefined) throw new NotYaml(NO_ANCHOR, alias, path)
    if (this.#around.has(node)) {
      throw new NotYaml("YAML whose aliases do not lead back to themselves", alias, path)
    }
    return this.read(node, path)
  }

  #map(map: YAMLMap, path: ReadonlyArray<string>): object {
    const members = new Map<string, unknown>()
    const merges: Array<unknown> = []
    for (const { key, value } of map.items) {
      if (!this.#yaml.isScalar(key) || !isName(key.value)) {
        throw new NotYaml("a mapping whose keys are texts", key, path)
      }
      const name = String(key.value)
      const inner = [...path, name]
      this.#place(inner, key)
      if (name === "<<" && key.type === "PLAIN") merges.push(value)
      else if (members.has(name)) throw new NotYaml("a mapping whose keys differ: this one is there twice", key, inner)
      else members.set(name, this.read(value, inner))
    }
    for (const merge of merges) this.#merge(members, this.read(merge, path), map, path)
    return Object.fromEntries(members)
  }

  /** `<<` adds the members of a mapping, or of several, that the mapping does not have. */
  #merge(members: Map<string, unknown>, merge: unknown, node: YAMLMap, path: ReadonlyArray<string>): void {
    for (const source of Array.isArray(merge) ? merge : [merge]) {
      if (typeof source !== "object" || source === null || Array.isArray(source)) {
        throw new NotYaml("a mapping whose << is a mapping", node, path)
      }
      for (const [name, value] of Object.entries(source)) if (!members.has(name)) members.set(name, value)
    }
  }
}

/** YAML reads `8080:` as a number, which may be the name of a service. */
const isName = (value: unknown): value is string | number | boolean =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"

/** More brackets are open at once than the parser, which recurses and takes seconds to find its end, should see. */
const MOST_BRACKETS = 1000

/** Brackets in texts and comments count, too, because a file that has so many is a mistake in any case. */
const hasManyBrackets = (text: string): boolean => {
  let open = 0
  for (const [bracket] of text.matchAll(/[[{}\]]/g)) {
    open = bracket === "[" || bracket === "{" ? open + 1 : Math.max(0, open - 1)
    if (open > MOST_BRACKETS) return true
  }
  return false
}

const parseWith = (yaml: Yaml, text: string): Parsed => {
  if (hasManyBrackets(text)) return notParsed(NOT_DEEP)
  const counter = new yaml.LineCounter()
  const lineAt = (offset: number | undefined) => offset === undefined ? undefined : counter.linePos(offset).line
  const lineOf = (node: Node | null | undefined) => lineAt(node?.range?.[0])
  try {
    const document = yaml.parseDocument(text, {
      lineCounter: counter,
      prettyErrors: false,
      logLevel: "error",
      // Its own check takes seconds for thousands of keys. The reader below has one.
      uniqueKeys: false
    })
    // Those that follow are mostly consequences of the first.
    const [problem] = [...document.errors, ...document.warnings]
    if (problem !== undefined) {
      const [offset] = problem.pos
      // For an indentation it is the end of the line before.
      const line = lineAt(text[offset] === "\n" ? offset + 1 : offset)
      return notParsed(meanings[problem.code] ?? `valid YAML (${problem.code})`, line)
    }
    const reader = new Reader(yaml, document, lineOf)
    return { document: { value: reader.read(document.contents, []), lineOf: reader.lines.of } }
  } catch (error) {
    return isNotYaml(error)
      ? notParsed(error.allowed, lineOf(error.node), error.path)
      // The parser recurses, so it is the stack that bounds how deep it goes.
      : notParsed(NOT_DEEP)
  }
}

export const parseYaml = (text: string): Effect.Effect<Parsed> =>
  Effect.match(yaml, {
    onSuccess: (yaml) => parseWith(yaml, text),
    onFailure: ({ message }) => notParsed(`JSON or TOML, because YAML needs a package. ${message}`)
  })
