import { setImmediate } from "node:timers/promises"
import { makeKeys, memoryCases, succeeding } from "./cases.ts"
import { load } from "./contenders/index.ts"

const [contenderName, caseName] = process.argv.slice(2)
const { circuits, spec } = memoryCases.find(({ name }) => name === caseName)!
const { hold } = await load(contenderName!)

/** Bytes in use after garbage collection. `external` includes array buffers. */
const bytesInUse = async (): Promise<number> => {
  for (let i = 0; i < 4; i++) {
    await setImmediate()
    globalThis.gc!()
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

const keys = makeKeys(circuits)
// Compiled code is no part of a circuit, so it is there before the first measurement.
const warm = await hold!(spec, succeeding, makeKeys(5000))
const before = await bytesInUse()
const held = await hold!(spec, succeeding, keys)
const bytes = (await bytesInUse() - before) / circuits
process.send!(bytes, () => {
  // Uses both, so that neither is collected before.
  if (held !== warm) process.disconnect()
  process.exit()
})
