/** What a breaker's timers mean for the process that it is in. */
import { assert, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { until } from "./support/machine.ts"

const program = join(import.meta.dirname, "support", "ending.ts")

/** Runs a program that does not dispose of its runtime until it has ended by itself. Returns how its calls ended. */
const ended = async (storage: string, call: string): Promise<string | undefined> => {
  const directory = await mkdtemp(join(tmpdir(), "effect-breaker-"))
  const child = spawn(process.execPath, [program, storage, call, directory], { stdio: ["ignore", "pipe", "inherit"] })
  const closed = once(child, "close")
  let output = ""
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text
  })
  try {
    await until("the process ended by itself", () => child.exitCode !== null)
    await closed
    return /ended with (.*)/.exec(output)?.[1]
  } finally {
    child.kill("SIGKILL")
    await rm(directory, { recursive: true, force: true })
  }
}

describe("a process that does not dispose of its runtime", () => {
  it("ends after a call that had an hour to end (F21)", async () => {
    assert.strictEqual(await ended("memory", "ends in time"), "ok")
  })

  for (const storage of ["memory", "file", "sqlite", "fallback", "mirror", "monitored"]) {
    it(`ends while a circuit is open for an hour, by pooled evidence, on this storage: ${storage} (F21)`, async () => {
      assert.strictEqual(await ended(storage, "opens the circuit"), "BreakerOpenError")
    })
  }

  it("ends on a storage that never answers (F21)", async () => {
    assert.strictEqual(await ended("silent", "ends in time"), "ok")
  })

  for (const storage of ["memory", "silent"]) {
    it(`does not end before its call has timed out, on this storage: ${storage} (F21)`, async () => {
      assert.match(String(await ended(storage, "hangs")), /BreakerTimeoutError/)
    })
  }
})
