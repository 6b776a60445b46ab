/** Runs the steps of `examples/moving-from-effect` as their reader does, one after the other on one Redis. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { LOG_LINE } from "../../support/logs.ts"
import { retryWhenLate } from "../../support/machine.ts"
import { serverUrl } from "../../support/servers/shared.ts"

const root = join(import.meta.dirname, "../../..")
const folder = "examples/moving-from-effect"

/** What a step prints. */
const run = async (step: string, env: Record<string, string>): Promise<string> => {
  const options = { cwd: root, env: { ...process.env, REDIS_URL: serverUrl("redis"), ...env } }
  const { stderr, stdout } = await promisify(execFile)(process.execPath, [join(folder, step)], options)
  assert.strictEqual(stderr, "")
  return stdout.replaceAll(LOG_LINE, "").trimEnd()
}

const readme = readFileSync(join(root, folder, "README.md"), "utf8")
const steps = [
  ...readme.matchAll(
    /^```sh\n(?:([A-Z_]+)=(\w+) )?node examples\/moving-from-effect\/(\S+)\n```\n\n```text\n([^]*?)\n```$/gm
  )
]

describe("moving from Effect's breaker to ours on Redis", () => {
  it("the page has every step", () => {
    assert.deepStrictEqual(steps.map(([, , value, step]) => [step, value]), [
      ["0-before.ts", undefined],
      ["1-in-parallel.ts", undefined],
      ["2-by-a-flag.ts", "old"],
      ["2-by-a-flag.ts", "new"],
      ["3-ours.ts", undefined]
    ])
  })

  for (const [, variable, value, step, output] of steps) {
    it(`${step} ${value ?? ""} prints what its page says`, () =>
      Effect.runPromise(retryWhenLate(Effect.tryPromise(async () => {
        assert.strictEqual(await run(step!, variable === undefined ? {} : { [variable]: value! }), output)
      }))))
  }
})
