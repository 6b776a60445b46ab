/**
 * The public types, as the package declares them, are those of `declarations.txt`. Read the diff of a change, and accept it with
 * `UPDATE=1 npm run test:packaging`: what is taken away or narrowed breaks users, and needs a changeset that says so.
 */
import { assert, describe, inject, it } from "@effect/vitest"
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"

const packed = inject("packed")
const SNAPSHOT = "test/packaging/declarations.txt"

/** Strings are matched to be kept, because they may have what looks like a comment. */
const withoutComments = (code: string): string =>
  code.replaceAll(/("(?:[^"\\]|\\.)*")|\/\*[^]*?\*\/|\/\/.*/g, (_, text: string | undefined) => text ?? "")
    .replaceAll(/^\s*\n/gm, "").trimEnd()

const read = (file: string) => withoutComments(readFileSync(join(packed, file), "utf8"))

/** The declarations that the exports lead to. */
const entries = (): ReadonlyArray<string> => {
  const { exports } = JSON.parse(readFileSync(join(packed, "package.json"), "utf8"))
  const isHidden = (file: string) => exports[file.replace(/^dist(.*)\.d\.ts$/, ".$1")] === null
  return Object.values<string | null>(exports)
    .filter((target) => target?.endsWith(".js") === true)
    .flatMap((target) => globSync(target!.replace(/\.js$/, ".d.ts"), { cwd: packed }))
    .filter((file) => !isHidden(file))
}

/** These, and the declarations that they import, internal ones included, because their types are seen through the public ones. */
const reachable = (files: ReadonlyArray<string>, seen: Set<string> = new Set()): ReadonlySet<string> => {
  for (const file of files.filter((file) => !seen.has(file))) {
    seen.add(file)
    const imported = Array.from(
      read(file).matchAll(/(?:\bfrom|\bimport\()\s*"(\.[^"]+)"/g),
      ([, path = ""]) => join(dirname(file), path).replace(/\.[jt]s$/, ".d.ts")
    )
    reachable(imported, seen)
  }
  return seen
}

describe("the public types", () => {
  it("are those that were accepted", () => {
    const declared = [...reachable(entries())].sort().map((file) => `// ${file}\n${read(file)}\n`).join("\n")
    if (process.env.UPDATE === "1") writeFileSync(SNAPSHOT, declared)
    const accepted = existsSync(SNAPSHOT) ? readFileSync(SNAPSHOT, "utf8") : ""
    assert.deepEqual(
      declared.split("\n"),
      accepted.split("\n"),
      "the public types have changed: read the diff, and accept it with UPDATE=1 npm run test:packaging"
    )
  })
})
