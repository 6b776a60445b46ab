import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { wholeNumber } from "./support/options.ts"

describe("numbers of the command line", () => {
  it("takes whole numbers in range", () =>
    assert.deepEqual(["1", " 20 "].map((text) => wholeNumber("rounds", text, { least: 1, most: 20 })), [1, 20]))

  for (const text of ["", "abc", "0", "21", "1.5", "Infinity", "-1"]) {
    it(`refuses ${JSON.stringify(text)}, with the option, the value and the range`, () =>
      assert.throws(
        () => wholeNumber("rounds", text, { least: 1, most: 20 }),
        `--rounds must be a whole number from 1 to 20, and is ${JSON.stringify(text)}`
      ))
  }

  for (
    const [program, option] of [
      ["test/sim/main.ts", "--schedules"],
      ["test/fleet/main.ts", "--rounds"],
      ["bench/fleet/main.ts", "--seconds"]
    ] as const
  ) {
    it(`${program} runs nothing with ${option} abc, and does not say that all holds`, () => {
      const { status, stderr, stdout } = spawnSync(process.execPath, [program, option, "abc"], { encoding: "utf8" })
      assert.strictEqual(status, 1)
      assert.strictEqual(stdout, "")
      assert.include(stderr, `${option} must be a whole number of at least 1, and is "abc"`)
    })
  }
})
