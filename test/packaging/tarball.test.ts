import { assert, describe, inject, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import { existsSync, globSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"

const packed = inject("packed")
const manifest = JSON.parse(readFileSync(join(packed, "package.json"), "utf8"))
const files = globSync("**/*", { cwd: packed, exclude: ["node_modules/**"], withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(packed.length + 1))

describe("the tarball", () => {
  it("holds the sources, what is built from each, the boards, and the documents", () => {
    const modules = globSync("src/**/*.ts").map((file) => file.slice("src/".length, -".ts".length))
    const built = modules.flatMap((module) => [
      `src/${module}.ts`,
      ...["js", "js.map", "d.ts", "d.ts.map"].map((extension) => `dist/${module}.${extension}`)
    ])
    assert.include(modules, "index")
    const data = ["config.schema.json", "grafana/effect-breaker.json", "prometheus/effect-breaker.rules.yml"]
    const documents = globSync(["*.md", "docs/**/*", "examples/**/*", "test/scenarios/*.{md,txt}"], {
      withFileTypes: true
    })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(".", join(entry.parentPath, entry.name)))
    assert.include(documents, "AGENTS.md")
    assert.sameMembers(files, [...built, ...data, ...documents, "package.json", "LICENSE"])
  })

  it("has documents whose links lead to files it holds", () => {
    const broken = files.filter((file) => file.endsWith(".md")).flatMap((file) =>
      Array.from(
        readFileSync(join(packed, file), "utf8").matchAll(/\]\((?!https?:)([^)#\s]+)/g),
        ([, path = ""]) => path
      )
        // The tests that docs/comparison.md and docs/proof.md lead to are in the repository.
        .filter((path) => !/^\.\.\/test\/.*\.ts$/.test(path))
        .filter((path) => !existsSync(join(packed, dirname(file), path)))
        .map((path) => `${file}: ${path}`)
    )
    assert.deepEqual(broken, [])
  })

  it("has a page for coding agents that is read at once: at most 10 kB", () => {
    assert.isAtMost(readFileSync(join(packed, "AGENTS.md")).byteLength, 10_000)
  })

  it("has maps that lead to the sources it holds", () => {
    for (const file of files.filter((file) => file.endsWith(".map"))) {
      const { sources } = JSON.parse(readFileSync(join(packed, file), "utf8"))
      for (const source of sources) assert.include(files, join(file, "..", source))
    }
  })

  it("is without fault to publint", async () => {
    const { messages } = await publint({ pkgDir: packed, strict: true })
    assert.deepEqual(messages.map((message) => formatMessage(message, manifest)), [])
  })

  it("has types that resolve wherever ES modules do", () => {
    const entrypoints = Object.values<string | null>(manifest.exports).flatMap((target) =>
      target?.endsWith(".js") === true && target !== "./dist/index.js" ? globSync(target, { cwd: packed }) : []
    ).map((file) => file.slice("dist/".length, -".js".length))
      .filter((name) => manifest.exports[`./${name}`] !== null)
    const attw = [
      "--profile",
      "esm-only",
      "--format",
      "ascii",
      "--entrypoints",
      ".",
      ...entrypoints,
      "--",
      inject("tarball")
    ]
    execFileSync("node_modules/.bin/attw", attw, { stdio: "pipe" })
  })
})
