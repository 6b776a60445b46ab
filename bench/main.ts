/**
 * `npm run bench` measures the cost of a call through a breaker on this machine, ours and others'. `-- --json` prints
 * the same as JSON.
 *
 * Results are medians of the time that is added to the bare call. Compare them within a run, not between runs.
 */
import { boundsOf } from "./bounds.ts"
import { measureEngine } from "./engine.ts"
import { measureMemory } from "./memory.ts"
import { toJson, toText } from "./report.ts"
import { measureScrape } from "./scrape.ts"
import { thorough, timeAll } from "./timing.ts"

const progress = (text: string) => {
  if (process.stderr.isTTY) console.error(`… ${text}`)
}

const calls = await timeAll(thorough, progress)
const memory = await measureMemory(progress)
const engine = [...await measureEngine(progress), ...await measureScrape(progress)]
const results = { calls, memory, engine, bounds: boundsOf(calls, memory) }

console.log(process.argv.includes("--json") ? toJson(results) : toText(results))
