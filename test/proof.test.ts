/** docs/proof.md has every promise of docs/protocol.md, and leads to what holds it. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { plans } from "./sim/exhaustive/plans.ts"
import { mutations } from "./sim/mutations.ts"

const page = readFileSync("docs/proof.md", "utf8")
const protocol = readFileSync("docs/protocol.md", "utf8")

const plain = (markdown: string): string => markdown.replaceAll(/[*`]/g, "")

const partOf = (text: string, from: string, to: string): string => text.slice(text.indexOf(from), text.indexOf(to))

/** The cells of each row of the tables, without the rules below their heads. */
const rowsOf = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  Array.from(text.matchAll(/^\|(?! *-)(.*)\|$/gm), ([, row = ""]) => row.split("|").map((cell) => cell.trim()))

/** The rules, and the faults of the two tables of what is guaranteed. */
const rules = Array.from(
  partOf(protocol, "## Generations", "## Gotchas").matchAll(/^- (.*)$/gm),
  ([, rule = ""]) => plain(rule)
)
const [byConsistency = [], byEvidence = []] = partOf(protocol, "By `consistency`", "Under every fault")
  .split("By `evidence`")
  .map((part) => rowsOf(part).slice(1).map(([fault = ""]) => fault))

const promises = page.slice(page.indexOf("## Every promise"))
const [ofRules = "", ofConsistency = "", ofEvidence = ""] = promises.split(/^### By .*$/m)
const held = (text: string) => rowsOf(text).filter(([first]) => first !== "promise" && first !== "fault")

describe("docs/proof.md", () => {
  it("has a row for each rule of the protocol, in its order", () => {
    const rows = held(ofRules).map(([promise = ""]) => promise)
    assert.strictEqual(rows.length, rules.length)
    assert.isAbove(rules.length, 30)
    for (const [i, rule] of rules.entries()) {
      assert.isTrue(rule.startsWith(plain(rows[i]!)), `${rows[i]} is not: ${rule}`)
    }
  })

  it("has a row for each fault of both tables of what is guaranteed", () => {
    assert.isAbove(byConsistency.length, 8)
    assert.deepStrictEqual(held(ofConsistency).map(([fault]) => fault), byConsistency)
    assert.deepStrictEqual(held(ofEvidence).map(([fault]) => fault), byEvidence)
  })

  it("leads to a text that its file has, from every row", () => {
    for (const [promise = "", by = ""] of held(promises)) {
      const links = Array.from(by.matchAll(/\]\(([^ )]+)(?: "([^"]+)")?\)/g))
      assert.isAbove(links.length, 0, promise)
      for (const [, path = "", text = ""] of links) {
        assert.include(readFileSync(join("docs", path), "utf8"), text, promise)
        // A mutation is the rule as a whole.
        if (path.endsWith("/mutations.ts")) assert.include(mutations.map(({ rule }) => rule), text)
      }
    }
  })

  it("tells of every world and of every rule that is searched", () => {
    const tables = rowsOf(partOf(page, "## Every run", "## Every promise"))
    const [worlds = [], found = []] = ["world", "rule"].map((head) =>
      tables.slice(tables.findIndex(([first]) => first === head) + 1)
    )
    assert.deepStrictEqual(
      worlds.slice(0, plans.length).map(([name, about, to]) => [name, about, to]),
      plans.map(({ about, depth, name }) => [name, about, String(depth)])
    )
    for (const [, , ...figures] of worlds.slice(0, plans.length)) assert.match(figures.join(), /^\d+(,\d+){4}$/)
    const rules = plans.flatMap(({ name, rules = [] }) => rules.map((rule) => [rule, name]))
    assert.deepStrictEqual(found.slice(0, rules.length).map(([rule, world]) => [rule, world]), rules)
    for (const [, , steps] of found.slice(0, rules.length)) assert.match(steps!, /^[1-9]\d*$/)
  })
})
