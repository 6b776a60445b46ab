import { setImmediate } from "node:timers/promises"
import { makeKeys, memoryCases, succeeding } from "./cases.ts"
import { load } from "./contenders/index.ts"

const [contenderName, caseName] = process.argv.slice(2)
const { circuits, spec } = memoryCases.find(({ name }) => name === caseName)!
const { hold } = await load(contenderName!)

/** What is alive. `external` has what array buffers hold in it. */
const alive = async (): Promise<number> => {
  for (let i = 0; i < 4; i++) {
    await setImmediate()
    globalThis.gc!()
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

const keys = makeKeys(circuits)
// Code and what the compiler knows about it is no part of a circuit.
const warm = await hold!(spec, succeeding, makeKeys(5000))
const before = await alive()
const held = await hold!(spec, succeeding, keys)
const bytes = (await alive() - before) / circuits
process.send!(bytes, () => {
  // Both are alive until here.
  if (held !== warm) process.disconnect()
  process.exit()
})
