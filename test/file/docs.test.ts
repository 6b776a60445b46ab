/** Runs the commands of `docs/files.md` on a directory like its example, and compares the output with the page. */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { circuitOf, FORCED } from "../../src/conformance/Law.ts"
import { type Delta, noLifetimeCounts, streakOf } from "../../src/core/Delta.ts"
import * as FileStorage from "../../src/Storage/File.ts"
import { root } from "../support/docs.ts"
import { clockAt } from "./disk.ts"
import { build, freshDirectory, node, versionsOf } from "./support.ts"

const page = readFileSync(join(root, "docs/files.md"), "utf8")

const place = freshDirectory()
const directory = join(place, ".circuit_breaker")

const delta: Delta = {
  buckets: [{ age: 0, success: 1, failure: 3, slow: 0 }],
  streak: streakOf([false, true, true, true]),
  lifetime: { ...noLifetimeCounts, success: 1, failure: 3 },
  hint: 0
}

beforeAll(() =>
  Effect.gen(function*() {
    const storage = yield* Effect.provide(build(FileStorage.layer({ directory, cleanUp: false })), node)
    const payments = circuitOf(storage, "payments")
    yield* payments.report(delta, { instance: "shop-1" })
    yield* payments.report(delta, { instance: "shop-2" })
    yield* circuitOf(storage, "GET /search").operate({ _tag: "Override", ...FORCED })
  }).pipe(Effect.scoped, clockAt(1_763_740_800_000).provide, Effect.runPromise)
)

/** Replaces numbers that are made from the time of the clock. */
const withoutNumbers = (text: string) => text.replaceAll(/\d{16}/g, "N").trim()

describe("docs/files.md", () => {
  const commands = [...page.matchAll(/^```sh files\n([^]*?)^```\n\n```text\n([^]*?)^```$/gm)]

  it("docs/files.md has commands", () => assert.isAtLeast(commands.length, 3))

  for (const [, command, printed] of commands) {
    it(`docs/files.md shows what is printed by: ${command!.trim()}`, () => {
      const output = execFileSync("sh", ["-c", command!], {
        cwd: place,
        encoding: "utf8",
        env: { ...process.env, LC_ALL: "C" }
      })
      assert.strictEqual(withoutNumbers(output), withoutNumbers(printed!))
    })
  }

  it("docs/files.md shows a file of a circuit as it is", () => {
    const [, shown] = /^```json\n([^]*?)^```$/m.exec(page)!
    const file = readFileSync(versionsOf(directory, "payments").at(-1)!, "utf8")
    const head = (text: string) => withoutNumbers(text.slice(0, text.indexOf(`  "id"`)))
    assert.strictEqual(head(shown!), head(file))
    assert.deepStrictEqual(Object.keys(JSON.parse(shown!)), Object.keys(JSON.parse(file)))
    assert.deepStrictEqual(
      Object.keys(JSON.parse(shown!).document),
      Object.keys(JSON.parse(file).document)
    )
  })
})
