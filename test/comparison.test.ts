/** docs/comparison.md claims nothing of this library without a test. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"

const page = readFileSync("docs/comparison.md", "utf8")

/** Our cell of each row, by what the row is about. */
const cells = Array.from(
  page.matchAll(/^\| +(?!-)(\S[^|]*?) *\| +([^|]+?) *\|(?:[^|]*\|){6}$/gm),
  ([, row = "", cell = ""]) => ({ row, cell })
).filter(({ cell }) => cell !== "effect-breaker" && !/^-+$/.test(cell))

/** What we have not, or have from elsewhere, needs no test. */
const LACKING = ["no", "of Effect", "a recipe", "Effect"]

describe("the page beside other breakers", () => {
  it("has a row for each line of its tables", () => {
    const lines = page.split("\n").filter((line) => line.startsWith("|") && !/^\| *-+ *\|/.test(line))
    assert.strictEqual(cells.length, lines.length - (page.match(/\| effect-breaker/g) ?? []).length)
    assert.isAbove(cells.length, 30)
  })

  for (const { cell, row } of cells.filter(({ cell }) => !LACKING.includes(cell))) {
    it(`leads to a test for: ${row}`, () => {
      const [, file = "", title = ""] = /\]\(\.\.\/(test\/[^ )]+\.test\.ts) "([^"]+)"\)/.exec(cell) ?? []
      assert.isTrue(existsSync(file), cell)
      const titles = Array.from(
        readFileSync(file, "utf8").matchAll(/\bit(?:\.\w+)?\(\s*(["`])(.*?)\1,/g),
        ([, , title]) => title
      )
      assert.include(titles, title)
    })
  }
})
