/** The documentation's site, built from the sources and the declarations in the tarball. */
import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import { existsSync, globSync, readFileSync } from "node:fs"
import { cp, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { entries, moduleOf } from "../../scripts/site/Api.ts"
import { build } from "../../scripts/site/Site.ts"

const declarations = join(inject("packed"), "dist")
let site: string

beforeAll(async () => {
  site = await mkdtemp(join(tmpdir(), "effect-breaker-site-"))
  build({ declarations, to: site })
  await cp("docs/playground", join(site, "docs/playground"), { recursive: true })
})

afterAll(() => rm(site, { recursive: true, force: true }))

const unescaped = (text: string) => text.replaceAll("&amp;", "&").replaceAll("&quot;", "\"")

const anchorsOf = (page: string): ReadonlySet<string> =>
  new Set(Array.from(readFileSync(page, "utf8").matchAll(/ id="([^"]+)"/g), ([, id]) => unescaped(id!)))

describe("the site", () => {
  it("has no dead link, and no dead anchor", () => {
    const pages = globSync("**/*.html", { cwd: site, exclude: ["docs/playground/**"] })
    assert.isAbove(pages.length, 100)
    const known = new Map(
      globSync("**/*.html", { cwd: site }).map((page) => [join(site, page), anchorsOf(join(site, page))])
    )
    let links = 0
    const dead = pages.flatMap((page) =>
      Array.from(
        readFileSync(join(site, page), "utf8").matchAll(/ (?:href|src)="([^"]+)"/g),
        ([, link]) => unescaped(link!)
      )
        .filter((link) => !/^https?:/.test(link))
        .filter((link) => {
          links++
          const [path = "", anchor] = link.split("#")
          const target = path === "" ? join(site, page) : join(site, dirname(page), path)
          return !existsSync(target) || (anchor !== undefined && known.get(target)?.has(anchor) !== true)
        })
        .map((link) => `${page}: ${link}`)
    )
    assert.deepStrictEqual(dead, [])
    assert.isAbove(links, 5000)
  })

  it("has every export of every module, with its doc comment", () => {
    const undocumented = entries(declarations).flatMap(({ file, name }) =>
      moduleOf(file).exports.filter(({ doc }) => doc === "").map((one) => `${name}: ${one.name}`)
    )
    assert.deepStrictEqual(undocumented, [])
    const page = readFileSync(join(site, "api/effect-breaker.Breaker.html"), "utf8")
    for (const name of ["Service", "KeyedService", "BreakerOpenError", "Defaults", "bypass", "TestState"]) {
      assert.include(page, `<h2 id="${name.toLowerCase()}">`)
    }
  })

  it("finds sections by their words", async () => {
    const index: ReadonlyArray<{ readonly path: string; readonly title: string; readonly text: string }> = JSON.parse(
      await readFile(join(site, "search.json"), "utf8")
    )
    const sections = index.filter(({ text, title }) => `${title} ${text}`.includes("FaultyStorage")).map(({ path }) =>
      path
    )
    assert.include(sections, "docs/testing.html#a-storage-that-fails")
    for (const { path } of index) assert.isTrue(existsSync(join(site, path.split("#")[0]!)), path)
  })
})
