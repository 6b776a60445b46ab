/**
 * Measures the memory of a circuit. Each contender makes 100,000 circuits in a new process, with one call each, and
 * compares the memory in use before and after, garbage collected both times.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { type MemoryCase, memoryCases } from "./cases.ts"
import type { MemoryResult } from "./results.ts"

export const measureMemory = async (progress: (text: string) => void): Promise<Array<MemoryResult>> => {
  const results: Array<MemoryResult> = []
  for (const memoryCase of memoryCases) {
    progress(memoryCase.name)
    for (const contender of memoryCase.contenders) {
      results.push({ case: memoryCase.name, contender, bytesPerCircuit: await measure(memoryCase, contender) })
    }
  }
  return results
}

const measure = async ({ name }: MemoryCase, contender: string): Promise<number> => {
  const child = fork(new URL("./memoryWorker.ts", import.meta.url), [contender, name], {
    execArgv: ["--expose-gc"],
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  const result = await Promise.race([
    once(child, "message").then(([bytes]) => bytes as number),
    once(child, "exit").then(() => undefined)
  ])
  if (result === undefined) throw new Error(`the process of ${contender} ended during ${name}`)
  return result
}
