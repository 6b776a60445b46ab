/**
 * Measures the cost of keeping a process in step with its fleet: CPU by number of circuits, requests to the storage and
 * bytes per report by call rate.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import type { EngineResult } from "./results.ts"

export const circuitCounts = [1, 1000, 100_000]
export const callRates = [1, 1000, 1_000_000]

export const measureEngine = async (progress: (text: string) => void): Promise<ReadonlyArray<EngineResult>> => {
  const results: Array<EngineResult> = []
  for (const circuits of circuitCounts) {
    progress(`engine, ${circuits} circuits`)
    results.push(...await measure("circuits", circuits))
  }
  for (const rate of callRates) {
    progress(`engine, ${rate} calls a second`)
    results.push(...await measure("rate", rate))
  }
  return results
}

/** Each measurement runs in a new process. */
const measure = async (what: "circuits" | "rate", count: number): Promise<ReadonlyArray<EngineResult>> => {
  const child = fork(new URL("./engineWorker.ts", import.meta.url), [what, String(count)], {
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  const result = await Promise.race([
    once(child, "message").then(([results]) => results as ReadonlyArray<EngineResult>),
    once(child, "exit").then(() => undefined)
  ])
  if (result === undefined) throw new Error(`the process of the engine ended during ${what} ${count}`)
  return result
}
