/** The size of each import. After a change that is meant to add code: `npm run size -- --accept`. */
import { assert, describe, it } from "@effect/vitest"
import { bounds, sizes } from "../../scripts/size.ts"

describe("the size of the package", async () => {
  const found = await sizes()

  it("has a bound for each import, and none for what is no import", () => {
    assert.sameMembers(Object.keys(bounds()), found.map(({ name }) => name))
  })

  for (const { brotliBytes, name } of found) {
    it(`${name} is within its bound`, () => assert.isAtMost(brotliBytes, bounds()[name]!))
  }
})
