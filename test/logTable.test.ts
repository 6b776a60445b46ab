import { assert, describe, it } from "@effect/vitest"
import { globSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./support/docs.ts"

const read = (file: string) => readFileSync(join(root, file), "utf8")

const source = [
  "src/Breaker.ts",
  ...globSync("src/{internal,combine}/**/*.ts", { cwd: root }),
  ...globSync("src/Storage/{Health,Migration,Mirror,Regions}.ts", { cwd: root })
]
  .map((file) => read(file).replaceAll(/\s+/g, " "))
  .join("\n")

const textsIn = (expression: string) => [...expression.matchAll(/"([^"]+)"/g)].map(([, text]) => text!)
const found = (pattern: RegExp) => [...source.matchAll(pattern)]
const line = (level: string, text: string, fields: string) => `${level}: ${text} {${fields}}`

const logged = found(/(?:\blog|trace\?\.)\( ?"(\w+)", (.+?), \{ (.*?) \} ?\)/g)

/** A line of the log for each text that is logged by itself, and for those that a helper logs with its own level and fields. */
const lines = new Set([
  ...logged.flatMap(([, level, message, object]) => {
    const fields = object!.split(", ").map((field) => field.split(":")[0]).join(", ")
    return textsIn(message!).map((text) => line(level!, text, fields))
  }),
  ...["load", "persist", "decode"].map((what) => line("Error", `Failed to ${what} a circuit`, "circuit, cause")),
  ...found(/#drop\(([^;]+?)\)[ ;]/g).flatMap(([, message]) =>
    textsIn(message!).map((text) => line("Warn", text, "circuit, success, failure"))
  ),
  ...found(/(?:\breport|logWithLevel\(level\))\( ?("[^"]+")/g).map(([, text]) =>
    line("unhandled", textsIn(text!)[0]!, "")
  )
])

describe("the table of what is logged", () => {
  it("has every line that is, with its level and fields, and no other", () => {
    const rows = [...read("docs/logs.md").matchAll(/^\| (\w+) +\| `([^`]+)` +\| ([^|]*?) +\|/gm)]
    const told = rows.map(([, level, text, fields]) => line(level!, text!, fields!.replaceAll("`", "")))
    assert.deepStrictEqual([...lines].sort(), told.sort())
  })

  it("was compared with all there are", () => {
    assert.strictEqual(logged.length, found(/\blog\(|trace\?\.\(/g).length)
    assert.deepStrictEqual(found(/complain\(`([^`]+)`/g).map(([, text]) => text), ["${message} a circuit"])
    const messages = found(/const message = error\.reason === "Invalid" \? (.+?) this\./g).map(([, text]) => text)
    assert.deepStrictEqual(messages, ["\"Failed to decode\" : `Failed to ${what}`"])
  })
})
