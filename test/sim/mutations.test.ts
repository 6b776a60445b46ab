import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { mutations } from "./mutations.ts"

const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** The output of a program that runs a library without one of the rules. */
const without = async (mutation: number, ...program: ReadonlyArray<string>): Promise<string> => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", fileOf("./mutate.ts"), ...program],
    { env: { ...process.env, SIM_MUTATION: String(mutation) } }
  )
  return stdout
}

describe.concurrent("mutations of the protocol", () => {
  for (const [i, { by, measure, rule }] of mutations.entries()) {
    if (by !== undefined || measure !== undefined) continue
    it(`a schedule fails without the rule that ${rule}`, async () => {
      const found = await without(i, fileOf("./main.ts"), "--first", "--schedules", "2000")
      assert.match(found, /^Seed \d+ fails: \d+ ms: /)
    })
  }
})

describe("mutations of strict calls", () => {
  const mutation = mutations.findIndex(({ rule }) => rule.startsWith("a strict call"))

  it(`a strict history is inexplicable without the rule that ${mutations[mutation]!.rule}`, async () => {
    const program = `import { firstInexplicable } from ${JSON.stringify(new URL("./strict.ts", import.meta.url).href)}
console.log(firstInexplicable(500))`
    assert.match(await without(mutation, "--input-type=module", "--eval", program), /^\d+$/m)
  })
})

const nameOf = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href)

describe.concurrent("mutations of throttling", () => {
  for (const [i, { rule }] of [...mutations.entries()].filter(([, { by }]) => by === "overload")) {
    it(`a fleet lets through too much or too little without the rule that ${rule}`, async () => {
      const program = `import { brokenByOverload } from ${nameOf("./overload.ts")}
console.log(brokenByOverload(1).length)`
      assert.match(await without(i, "--input-type=module", "--eval", program), /^[1-9]\d*$/m)
    })
  }
})

describe.concurrent("mutations of alerts and bells", () => {
  const all = [...mutations.entries()]
  for (const [i, { rule }] of all.filter(([, { by }]) => by === "bad nodes")) {
    it(`bad nodes open the circuit for a healthy fleet without the rule that ${rule}`, async () => {
      const program = `import { openedByBadNodes } from ${nameOf("./quiet.ts")}
console.log(openedByBadNodes(10))`
      assert.match(await without(i, "--input-type=module", "--eval", program), /^[1-9]\d*$/m)
    })
  }
  for (const [i, { measure, rule }] of all.filter(([, { measure }]) => measure !== undefined)) {
    it(`a measure is out of its bounds without the rule that ${rule}`, async () => {
      const program = `import { measures } from ${nameOf("./measures.ts")}
const { most, of } = measures[${JSON.stringify(measure)}]
console.log(of() > most)`
      assert.match(await without(i, "--input-type=module", "--eval", program), /^true$/m)
    })
  }
  for (const [i, { rule }] of all.filter(([, { by }]) => by === "outages")) {
    it(`an instance misses a change in an outage without the rule that ${rule}`, async () => {
      const program = `import { firstMissed } from ${nameOf("./switch.ts")}
console.log(firstMissed(60))`
      assert.match(await without(i, "--input-type=module", "--eval", program), /has not heard of act/)
    })
  }
})
