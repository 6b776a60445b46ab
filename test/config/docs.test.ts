import { assert, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { fields } from "../../src/config/internal/Fields.ts"

it("docs/configuration.md lists every field with its variable", () => {
  const page = readFileSync("docs/configuration.md", "utf8")
  const table = page.slice(page.indexOf("## Fields of a service"), page.indexOf("## What config cannot do"))
  const rows = [...table.matchAll(/^\| `([a-z_.]+)`\s*\| (?:`…_([A-Z_]+)`)?/gm)].map((
    [, name, variable]
  ) => [name, variable])
  assert.deepStrictEqual(rows, fields.map(({ keys, variable }) => [keys.join("."), variable]))
})
