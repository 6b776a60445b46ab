import { assert, describe, it } from "@effect/vitest"
import { readFile } from "node:fs/promises"
import { made } from "../../scripts/pages.ts"

describe("what `npm run pages` makes of pages/", () => {
  for (const [path, make] of Object.entries(made)) {
    it(`is ${path}`, async () => {
      assert.isTrue(await readFile(new URL(`../../${path}`, import.meta.url), "utf8") === await make())
    })
  }
})
