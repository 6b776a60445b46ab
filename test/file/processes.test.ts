/** Real processes on one directory, killed and paused at any moment. */
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { rolldown } from "rolldown"
import { circuitOf, times } from "../../src/conformance/Law.ts"
import { layer } from "../../src/layers/FileStorageLive.ts"
import * as FileStorage from "../../src/Storage/File.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { freshDirectory, node } from "./support.ts"

const KILLS = 100

/** Number of processes that run at once. */
const WRITERS = 4

/** Number of reports of the same circuit that each process sends at once. */
const REPORTS = 25

/** All reports at once must take less time than this many reports without contention. */
const MOST_TIMES_ALONE = 2 * WRITERS * REPORTS

const writer = join(freshDirectory(), "writer.mjs")

// A process starts several times faster from one bundle than from all its modules.
beforeAll(async () => {
  const bundle = await rolldown({ input: join(import.meta.dirname, "writer.ts"), platform: "node" })
  await bundle.write({ file: writer, format: "esm", codeSplitting: false })
  await bundle.close()
})

const start = (...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [writer, ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let output = ""
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text
  })
  return { child, lines: () => output.split("\n").filter((line) => line !== "") }
}

/**
 * Starts a process, sometimes pauses it, and kills it at a random moment after its first answer. Returns the circuit of
 * each report that was answered.
 */
const killed = async (directory: string, name: string): Promise<ReadonlyArray<string>> => {
  const { child, lines } = start(directory, name)
  const closed = once(child, "close")
  await Promise.race([once(child.stdout, "data"), closed])
  await sleep(Math.random() * 40)
  if (Math.random() < 0.3) {
    child.kill("SIGSTOP")
    await sleep(Math.random() * 40)
    child.kill("SIGCONT")
    await sleep(Math.random() * 10)
  }
  child.kill("SIGKILL")
  await closed
  return lines()
}

const failuresOf = (directory: string, circuit: string) =>
  Effect.runPromise(
    Effect.flatMap(Storage, (storage) => circuitOf(storage, circuit).read).pipe(
      Effect.map(({ lifetime }) => lifetime.failure),
      Effect.provide(layer({ directory }))
    )
  )

describe("processes on one directory", () => {
  it(`${KILLS} processes on one directory that are killed lose no report that was answered`, async () => {
    const directory = freshDirectory()
    const counted: Record<string, number> = {}
    let kills = 0
    await Promise.all(
      times(WRITERS).map(async () => {
        while (kills < KILLS) {
          for (const circuit of await killed(directory, `${kills++}`)) counted[circuit] = (counted[circuit] ?? 0) + 1
        }
      })
    )
    for (const circuit of ["a", "b", "c"]) {
      const found = await failuresOf(directory, circuit)
      const answered = counted[circuit] ?? 0
      assert.isAtLeast(found, answered)
      // Each killed process may have written at most one more report, which was not answered.
      assert.isAtMost(found, answered + kills)
    }
    // No process was killed before its first answer.
    assert.isAtLeast(Object.values(counted).reduce((sum, count) => sum + count, 0), KILLS)
    const { circuits } = await Effect.runPromise(Effect.provide(FileStorage.report({ directory }), node))
    assert.deepEqual(circuits.map(({ circuit, damaged }) => [circuit, damaged]), [["a", []], ["b", []], ["c", []]])
  })

  it("processes that report of one circuit at once are all counted, and wait little for each other", async () => {
    const directory = freshDirectory()
    const writers = times(WRITERS).map((index) => start(directory, `${index}`, `${REPORTS}`))
    const codes = await Promise.all(writers.map(async ({ child }) => (await once(child, "close"))[0]))
    assert.deepEqual(codes, writers.map(() => 0))
    assert.strictEqual(await failuresOf(directory, "crowd"), WRITERS * REPORTS)
    for (const { lines } of writers) {
      const [alone, together] = lines().map(Number) as [number, number]
      assert.isBelow(together, MOST_TIMES_ALONE * alone)
    }
  })
})
