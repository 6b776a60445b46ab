import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { parse } from "../../scenarios/scenario.ts"
import { mutations } from "../mutations.ts"
import { plans } from "./plans.ts"

const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** The output of `npm run check:exhaustive`. */
const checked = async (...options: ReadonlyArray<string>): Promise<string> =>
  (await promisify(execFile)(process.execPath, ["--import", fileOf("./expose.ts"), fileOf("./main.ts"), ...options]))
    .stdout

describe("the exhaustive search", () => {
  it("no run of a few steps breaks the protocol in any small world", async () => {
    const told = await checked("--short")
    assert.match(told, /^all holds$/m)
    for (const { depthInTests, name } of plans) {
      const [, depth, states] = new RegExp(`^${name} +(\\d+) +(\\d+)`, "m").exec(told) ?? []
      assert.strictEqual(Number(depth), depthInTests)
      assert.isAbove(Number(states), depthInTests)
    }
  })

  it("without a rule of the protocol it prints the shortest run that breaks it, as a scenario", async () => {
    const mutation = mutations.findIndex(({ rule }) => rule === "a report is counted once")
    const told = await checked("--mutation", String(mutation))
    const { blocks, head } = parse(told.slice(told.indexOf("# ")))
    assert.strictEqual(head[0], "# 3 times success is stored of payments, which happened 2 times")
    assert.deepStrictEqual(blocks.slice(1).flatMap(({ input }) => input), ["double 1", "rest"])
  })

  it("each mutation is searched in one world", () => {
    const searched = plans.flatMap(({ rules = [] }) => rules)
    assert.deepStrictEqual(searched.toSorted(), mutations.map(({ rule }) => rule).toSorted())
  })
})
