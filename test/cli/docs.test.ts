/** Runs the commands of `docs/command-line.md`, and compares their output with the page. `UPDATE=1` writes it there. */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { afterAll } from "vitest"
import { circuitOf, failures, MINUTE } from "../../src/conformance/Law.ts"
import { noDelta, noLifetimeCounts } from "../../src/core/Delta.ts"
import * as SqliteStorageLive from "../../src/layers/SqliteStorageLive.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { root } from "../support/docs.ts"
import { BIN } from "../support/terminal.ts"

const file = join(root, "docs/command-line.md")
let page = readFileSync(file, "utf8")

const place = mkdtempSync(join(tmpdir(), "effect-breaker-docs-"))
afterAll(() => rmSync(place, { recursive: true, force: true }))

const calls = (success: number, failure: number) => ({
  ...noDelta,
  buckets: [{ age: 0, success, failure, slow: 0 }],
  lifetime: { ...noLifetimeCounts, success, failure }
})

/** A minute of calls at noon, of which most fail for 15 seconds. */
const recording = Array.from({ length: 120 }, (_, i) => {
  const isBad = i >= 40 && i < 70
  return JSON.stringify({
    at: Date.parse("2026-01-31T12:00:00.000Z") + i * 500,
    circuit: "payments",
    outcome: isBad && i % 6 !== 0 ? "failure" : "success",
    duration: 80
  })
}).join("\n")

beforeAll(() => {
  const bin = join(place, "bin")
  mkdirSync(bin)
  writeFileSync(join(bin, "effect-breaker"), `#!/bin/sh\nexec "${process.execPath}" "${BIN}" "$@"\n`)
  chmodSync(join(bin, "effect-breaker"), 0o755)
  writeFileSync(join(place, "calls.ndjson"), recording)
  writeFileSync(join(place, "careful.yaml"), "trip:\n  _tag: ConsecutiveFailures\n  failures: 5\nopenFor: 10 seconds\n")
  writeFileSync(
    join(place, "rate.yaml"),
    "trip:\n  _tag: FailureRate\n  threshold: 0.5\n  minimumCalls: 20\n  window:\n    _tag: Within\n    duration: 30 seconds\n"
  )
  return Effect.gen(function*() {
    const storage = Context.get(
      yield* Layer.build(SqliteStorageLive.layer({ file: join(place, "circuits.db") })),
      Storage
    )
    const payments = circuitOf(storage, "payments")
    yield* payments.report(calls(812, 0))
    yield* payments.report(failures(5))
    yield* payments.trip(yield* payments.read, {
      opening: { openFor: 30 * MINUTE, maxOpenFor: 60 * MINUTE },
      why: { reason: "5 consecutive failures", evidence: { by: "fleet", streak: 5, totals: [] } }
    })
    yield* circuitOf(storage, "users/eu").report(calls(120, 1))
    yield* circuitOf(storage, "search").operate({ _tag: "HalfOpen" })
    yield* circuitOf(storage, "mail").operate({
      _tag: "Override",
      kind: "ForcedOpen",
      reason: "the provider moves",
      actor: "ann",
      remaining: 30 * MINUTE
    })
  }).pipe(Effect.scoped, Effect.runPromise)
})

const run = (command: string): string => {
  const { stdout } = spawnSync("sh", ["-c", `exec 2>&1\n${command}`], {
    cwd: place,
    encoding: "utf8",
    env: {
      HOME: place,
      PATH: `${join(place, "bin")}${delimiter}${process.env["PATH"]}`,
      CIRCUIT_BREAKER_STORAGE: "sqlite:circuits.db",
      EFFECT_BREAKER_ACTOR: "ann"
    }
  })
  return stdout
}

/** The output without what differs between runs: times, generations, and how wide the columns are for them. */
const comparable = (text: string): string =>
  text.replaceAll(/\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z/g, "T")
    .replaceAll(/\b\d+(ms|[smhd])( \d+[smh])?\b/g, "N")
    .replaceAll(/\d{10,}/g, "G")
    .replaceAll(/ +/g, " ")
    .trim()

describe("docs/command-line.md", () => {
  const commands = [...page.matchAll(/^```sh command-line\n([^]*?)^```\n\n```text\n([^]*?)^```$/gm)]

  it("has commands", () => assert.isAtLeast(commands.length, 8))

  for (const [fences, command, printed] of commands) {
    it(`shows what is printed by: ${command!.trim()}`, () => {
      const output = run(command!)
      if (process.env["UPDATE"] === "1") {
        page = page.replace(
          fences,
          () => `\`\`\`sh command-line\n${command}\`\`\`\n\n\`\`\`text\n${output.trimEnd()}\n\`\`\``
        )
        writeFileSync(file, page)
        return
      }
      assert.strictEqual(comparable(output), comparable(printed!))
    })
  }

  it("names every command", () => {
    const [, listed] = /SUBCOMMANDS\n([^]*)/.exec(run("effect-breaker --help"))!
    for (const name of listed!.matchAll(/^ {2}([a-z-]+)/gm)) assert.include(page, `\`${name[1]}`)
  })
})
