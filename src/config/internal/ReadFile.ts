/**
 * Reads a configuration file, whatever is in its place. It is bounded in size and time: a file that is a device, a pipe or a directory
 * is refused, no more than the limit is read, and the format's parser gets no more.
 */
import * as Bytes from "effect/Bytes"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import * as Stream from "effect/Stream"
import { decode, emptyDecoded, type Found } from "./Decode.ts"
import { type Document, isParsed, notParsed, type Parsed } from "./Document.ts"
import { parseJson } from "./Json.ts"
import type { ReadFile } from "./Load.ts"
import { type Inside, type Problem, problemAt } from "./Problem.ts"
import { parseToml } from "./Toml.ts"
import { parseYaml } from "./Yaml.ts"

const MOST_BYTES = 256 * 1024

/** A file on a network may never answer. */
const LONGEST_READ = "10 seconds"

const formats: Readonly<Record<string, (text: string) => Parsed | Effect.Effect<Parsed>>> = {
  yaml: parseYaml,
  yml: parseYaml,
  toml: parseToml,
  json: parseJson
}

const parserOf = (path: string) => {
  const extension = path.slice(path.lastIndexOf(".") + 1).toLowerCase()
  return Object.hasOwn(formats, extension) ? formats[extension] : undefined
}

/** Reads a file. What is wrong with it is in the result, so that it can be told together with what is wrong with the environment. */
export const readFile = (
  fileSystem: FileSystem.FileSystem,
  path: string,
  unknown: "fail" | "warn"
): Effect.Effect<ReadFile & { readonly warnings: ReadonlyArray<Problem> }> =>
  Effect.map(parsedFile(fileSystem, path), (parsed) => {
    if (!isParsed(parsed)) {
      const { allowed, line, path: key } = parsed.problem
      const problem = problemAt({ source: path, line, path: key, value: undefined }, allowed)
      return { source: path, file: emptyDecoded, problems: [problem], warnings: [] }
    }
    const { document } = parsed
    const found: Found = { problems: [], unknown: [] }
    const file = decode({ source: path, line: 1, path: [], value: document.value }, inside(document), found)
    return unknown === "fail"
      ? { source: path, file, problems: byLine([...found.problems, ...found.unknown]), warnings: [] }
      : { source: path, file, problems: byLine(found.problems), warnings: byLine(found.unknown) }
  })

const byLine = (problems: ReadonlyArray<Problem>): ReadonlyArray<Problem> =>
  problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0))

const inside = ({ lineOf }: Document): Inside => (at, key, value) => {
  const path = [...at.path, key]
  return { source: at.source, line: lineOf(path), path, value }
}

const parsedFile = (fileSystem: FileSystem.FileSystem, path: string): Effect.Effect<Parsed> => {
  const parse = parserOf(path)
  if (parse === undefined) return Effect.succeed(notParsed("a file whose name ends with .yaml, .yml, .toml or .json"))
  return Effect.gen(function*() {
    const { type } = yield* fileSystem.stat(path)
    if (type !== "File") return notParsed(`a file, and not a ${type}`)
    const bytes = Bytes.concat(yield* Stream.runCollect(fileSystem.stream(path, { bytesToRead: MOST_BYTES + 1 })))
    if (bytes.length > MOST_BYTES) return notParsed(`a file of at most ${MOST_BYTES / 1024} KiB`)
    const text = textOf(bytes)
    if (typeof text !== "string") return text
    const parsed = parse(text)
    return Effect.isEffect(parsed) ? yield* parsed : parsed
  }).pipe(
    Effect.timeout(LONGEST_READ),
    Effect.catchTags({
      PlatformError: (error) => Effect.succeed(notParsed(reasonOf(error))),
      TimeoutError: () => Effect.succeed(notParsed(`a file that can be read within ${LONGEST_READ}`))
    })
  )
}

const reasonOf = (error: PlatformError): string =>
  error.reason._tag === "NotFound"
    ? "a file that exists"
    : `a file that this process may read (${error.reason._tag})`

/** The text of a file, or the first line that is none. */
const textOf = (bytes: Uint8Array): string | Parsed => {
  let text: string
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    return notParsed(
      "UTF-8",
      firstLineThat(bytes, (line) => {
        try {
          new TextDecoder("utf-8", { fatal: true }).decode(line)
          return false
        } catch {
          return true
        }
      })
    )
  }
  const nul = text.indexOf("\0")
  return nul === -1 ? text : notParsed("text without NUL characters", text.slice(0, nul).split("\n").length)
}

const LINE_FEED = 10

const firstLineThat = (bytes: Uint8Array, is: (line: Uint8Array) => boolean): number | undefined => {
  let start = 0
  for (let line = 1; start < bytes.length; line++) {
    const end = bytes.indexOf(LINE_FEED, start)
    if (is(bytes.subarray(start, end === -1 ? bytes.length : end))) return line
    if (end === -1) return undefined
    start = end + 1
  }
  return undefined
}
