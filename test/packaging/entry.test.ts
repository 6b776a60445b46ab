/** The root entry imports only stable modules of Effect from outside the package, and no driver. */
import { assert, describe, inject, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, isAbsolute, join, resolve } from "node:path"
import { rolldown } from "rolldown"

const packed = inject("packed")
const effectRoot = dirname(createRequire(import.meta.url).resolve("effect/package.json"))

interface Import {
  readonly importer: string
  readonly specifier: string
}

/** All imports of the entry and its modules from outside the package, without tree shaking. */
const importsOf = async (entry: string): Promise<ReadonlyArray<Import>> => {
  const imports: Array<Import> = []
  const bundle = await rolldown({
    input: entry,
    treeshake: false,
    external: (specifier, importer) => {
      if (importer === undefined || specifier.startsWith(".") || isAbsolute(specifier)) return false
      imports.push({ importer, specifier })
      return true
    }
  })
  await bundle.generate({ format: "esm" })
  await bundle.close()
  return imports
}

/** The same imports of the declarations, which a bundler does not read. */
const typeImportsOf = (entry: string, seen = new Set<string>()): ReadonlyArray<Import> => {
  if (seen.has(entry)) return []
  seen.add(entry)
  const code = readFileSync(entry, "utf8").replaceAll(/\/\*[^]*?\*\//g, "")
  const specifiers = [...code.matchAll(/(?<!")(?:\bfrom|\bimport\(|\bimport)\s*"([^"]+)"/g)].map(([, specifier]) =>
    specifier!
  )
  return specifiers.flatMap((specifier) =>
    specifier.startsWith(".")
      ? typeImportsOf(resolve(dirname(entry), specifier.replace(/\.[jt]s$/, ".d.ts")), seen)
      : [{ importer: entry, specifier }]
  )
}

/**
 * The stability that a module of Effect declares with the tag of its first doc comment. A module in a folder counts as
 * unstable.
 */
const stabilityOf = (specifier: string): string => {
  const file = join(effectRoot, "src", `${specifier.replace(/^effect\/?/, "")}.ts`)
  if (!specifier.startsWith("effect/") || !existsSync(file)) return "not a module of Effect's own"
  const stability = /\/\*\*[^]*?\*\//.exec(readFileSync(file, "utf8"))?.[0].match(/@stability (\w+)/)?.[1]
  return specifier.split("/").length === 2 && stability !== undefined ? stability : "unstable"
}

const strangers = (imports: ReadonlyArray<Import>) =>
  imports
    .map(({ importer, specifier }) => ({ importer, specifier, stability: stabilityOf(specifier) }))
    .filter(({ stability }) => stability !== "stable")

/** An error that nobody handled answers by itself. This module is loaded when the first one does. */
const answers = "effect/http/HttpServerResponse"

describe("the root entry", () => {
  it("runs on stable modules of Effect alone, but for what is loaded with the first answer", async () => {
    const imports = await importsOf(join(packed, "dist/index.js"))
    assert.isAbove(imports.length, 0)
    const [answer, ...others] = strangers(imports)
    assert.strictEqual(answer?.specifier, answers)
    assert.deepEqual(others, [])
    const code = readFileSync(answer!.importer, "utf8")
    assert.include(code, `import("${answers}")`)
    assert.notInclude(code, `from "${answers}"`)
  })

  it("names stable modules of Effect alone in its types, but for an answer", () => {
    const imports = typeImportsOf(join(packed, "dist/index.d.ts"))
    assert.isAbove(imports.length, 0)
    assert.deepEqual(strangers(imports).filter(({ specifier }) => specifier !== answers), [])
  })
})

describe("the judge of stability", () => {
  it("knows stable, unstable and foreign modules", () => {
    assert.strictEqual(stabilityOf("effect/Effect"), "stable")
    assert.strictEqual(stabilityOf("effect/FileSystem"), "unstable")
    assert.strictEqual(stabilityOf("effect/persistence/Redis"), "unstable")
    for (const foreign of ["effect", "effect/persistence", "ioredis", "node:fs", "@effect/platform-node"]) {
      assert.strictEqual(stabilityOf(foreign), "not a module of Effect's own")
    }
  })
})
