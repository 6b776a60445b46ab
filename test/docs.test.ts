import { afterAll, assert, describe, it } from "@effect/vitest"
import { existsSync, globSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { navigation } from "../scripts/site/navigation.ts"
import { clean, fencesOf, root, run, typeErrors } from "./support/docs.ts"

const read = (file: string) => readFileSync(join(root, file), "utf8")

const pages = globSync(["README.md", "AGENTS.md", "CONTRIBUTING.md", "docs/**/*.md"], { cwd: root })
const documents = [...pages, ...globSync("src/**/*.ts", { cwd: root })].sort()
const fences = documents.flatMap((file) => fencesOf(file, read(file)))

afterAll(clean)

describe("the runner of fences", () => {
  const fence = (code: string) => fencesOf("page.md", `\`\`\`ts import.meta.vitest\n${code}\n\`\`\``)[0]!
  const failure = (code: string) => run(fence(code)).then(() => "", String)

  it("the runner of fences accepts true claims", () =>
    run(fence(`
import { Option } from "effect"
import { Trip } from "effect-breaker"
import { MemoryStorageLive } from "effect-breaker/layers/MemoryStorageLive"

type Answer = { readonly answer: number }
typeof Trip // => "object"
typeof MemoryStorageLive // => "object"
const later = Promise.resolve<Answer>({ answer: 42 })
await later // => { answer: 42 }
Option.some(
  1
) // => Option.some(1)
const two = 1 + 1 // => 2
console.log(two, "is printed") // => 2
const twice = (n: number) => {
  n * 2 // => 4
  return n * 2
}
twice(two) // => 4`)))

  it("the runner of fences refuses a wrong value, naming its line", async () => {
    assert.include(await failure("1 + 1 // => 2\n1 + 1 // => 3"), "page.md:3")
    assert.include(await failure("const x = { a: 1 } // => { a: 2 }"), "page.md:2")
    assert.include(await failure("await Promise.resolve(1) // => Promise.resolve(1)"), "page.md:2")
  })

  it("the runner of fences refuses a claim without an expression", async () => {
    assert.include(await failure("// => 1"), "no expression ends before this claim")
    assert.include(await failure("1 + // => 1\n 1"), "no expression ends before this claim")
  })

  it("the runner of fences refuses code that throws, does not parse, or imports a missing module", async () => {
    assert.include(await failure(`throw new Error("boom")`), "boom")
    assert.include(await failure("const ="), "page.md:2")
    assert.include(await failure(`import "effect-breaker/layers/NoSuchStorageLive"`), "NoSuchStorageLive")
  })

  it("the runner of fences finds fences in doc comments, and which of them run", () => {
    const found = fencesOf(
      "a.ts",
      "/**\n * ```ts import.meta.vitest\n * a\n *\n *   b\n * ```\n * ```ts\n * c\n * ```\n */"
    )
    assert.deepEqual(found, [
      { file: "a.ts", line: 3, code: "a\n\n  b", runs: true },
      { file: "a.ts", line: 8, code: "c", runs: false }
    ])
    assert.throws(() => fencesOf("a.md", "```ts\n1"), "never ends")
  })

  it("the runner of fences maps a type error to its document", async () => {
    const wrong = fencesOf(
      "page.md",
      "# Page\n\n```ts\nimport { Effect } from \"effect\"\nEffect.succeed(1) satisfies string\n```"
    )
    const [error, ...others] = await typeErrors(wrong)
    assert.match(error ?? "", /^page\.md\(5,19\): error TS/)
    assert.deepEqual(others.filter((line) => !line.startsWith(" ")), [])
  })
})

describe("the documents", () => {
  it("all fences type-check", async () => {
    assert.deepEqual(await typeErrors(fences), [])
  })

  for (const fence of fences.filter(({ runs }) => runs)) {
    it(`${fence.file}:${fence.line} runs`, () => run(fence))
  }

  it("the documents name only commands and files that exist", () => {
    const { scripts } = JSON.parse(read("package.json"))
    for (const page of pages) {
      for (
        const [command, name = "start"] of read(page).matchAll(
          /\bnpm (?:--?\w+ )*(?:run (?:--?\w+ )*([\w:-]+)|start\b)/g
        )
      ) {
        assert.property(scripts, name, `${page}: ${command}`)
      }
      for (const [command, path] of read(page).matchAll(/\bnode ((?:examples|bench|scripts)\/[\w./-]+)/g)) {
        assert.isTrue(existsSync(join(root, path!)), `${page}: ${command}`)
      }
    }
  })

  it("the site's navigation has each document in one place", () => {
    const placed = navigation.flatMap(({ pages }) => pages)
    assert.sameMembers(placed, globSync(["*.md", "docs/*.md", "test/scenarios/README.md"], { cwd: root }))
  })

  it("the documents' links lead to files and headings that exist", () => {
    const prose = (page: string) => read(page).replaceAll(/^```.*?^```/gms, "")
    /** As GitHub makes it of a heading. */
    const anchorOf = (heading: string) =>
      heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-")
    const broken = pages.flatMap((page) =>
      Array.from(prose(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)).filter(
        ([, path = "", anchor]) => {
          const target = path === "" ? page : join(dirname(page), path)
          if (!existsSync(join(root, target))) return true
          const headings = Array.from(prose(target).matchAll(/^#+ (.+)$/gm), ([, heading = ""]) => anchorOf(heading))
          return anchor !== undefined && !headings.includes(anchor)
        }
      ).map(([link]) => `${page}: ${link}`)
    )
    assert.deepEqual(broken, [])
  })
})
