/**
 * Measures one scrape of a process with many circuits, in a process of its own: its CPU, which keeps the event loop, its size, and the
 * memory of the series.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import type { EngineResult } from "./results.ts"

export const measureScrape = async (progress: (text: string) => void): Promise<ReadonlyArray<EngineResult>> => {
  progress("scrape")
  const child = fork(new URL("./scrapeWorker.ts", import.meta.url), {
    execArgv: ["--expose-gc"],
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  const result = await Promise.race([
    once(child, "message").then(([results]) => results as ReadonlyArray<EngineResult>),
    once(child, "exit").then(() => undefined)
  ])
  if (result === undefined) throw new Error("the process of the scrape ended")
  return result
}
