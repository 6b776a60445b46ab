import { assert, describe, it } from "@effect/vitest"
import { globSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"

const root = resolve(import.meta.dirname, "..")
const read = (file: string) => readFileSync(join(root, file), "utf8")

/** The rows that a text names in brackets, such as `(F1)` and `(S1, R6)`. */
const rowsIn = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/\(([FSR]\d+(?:, [FSR]\d+)*)\)/g)].flatMap(([, rows]) => rows!.split(", "))

const documented = [...read("docs/faults.md").matchAll(/^\| ([FSR]\d+) /gm)].map(([, row]) => row!)
const held = new Set(
  globSync(["test/**/*.ts", "src/conformance/*.ts"], { cwd: root })
    .filter((file) => !file.endsWith("faults.test.ts"))
    .flatMap((file) => rowsIn(read(file)))
)

describe("the faults that the field knows", () => {
  it("each row is held by a test that names it", () => {
    assert.isAbove(documented.length, 60)
    assert.deepStrictEqual(documented.filter((row) => !held.has(row)), [])
  })

  it("each row that a test names is documented, once", () => {
    assert.deepStrictEqual([...held].filter((row) => !documented.includes(row)), [])
    assert.strictEqual(new Set(documented).size, documented.length)
  })
})
