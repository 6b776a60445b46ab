/** The size of each import. After a change that is meant to add code: `npm run size -- --accept`. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { bounds, sizes } from "../../scripts/size.ts"

describe("the size of the package", async () => {
  const found = await sizes()

  it("has a bound for each import, and none for what is no import", () => {
    assert.sameMembers(Object.keys(bounds()), found.map(({ name }) => name))
  })

  it("is as docs/cost.md says, to a kilobyte", () => {
    const page = readFileSync(new URL("../../docs/cost.md", import.meta.url), "utf8")
    const [paragraph] = /^`npm run size`.*?\n\n/ms.exec(page)!
    const said = [...paragraph.matchAll(/(\d+) kB[^`]*`([^`]+)`/g)]
    assert.isAtLeast(said.length, 3)
    for (const [, kilobytes, name] of said) {
      const { brotliBytes } = found.find((one) => one.name === name)!
      assert.closeTo(Number(kilobytes), brotliBytes / 1000, 1, name)
    }
  })

  for (const { brotliBytes, name } of found) {
    it(`${name} is within its bound`, () => assert.isAtMost(brotliBytes, bounds()[name]!))
  }
})
