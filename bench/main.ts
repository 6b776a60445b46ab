/**
 * `npm run bench`: what a call through a breaker costs, ours and others', on this machine. `-- --json` prints one document.
 *
 * Numbers are medians of what is added to the bare call. Compare them within a run, never between runs.
 */
import { measureEngine } from "./engine.ts"
import { measureMemory } from "./memory.ts"
import { toBounds, toEngineTable, toJson, toTable } from "./report.ts"
import { thorough, timeAll } from "./timing.ts"

const progress = (text: string) => {
  if (process.stderr.isTTY) console.error(`… ${text}`)
}

const results = await timeAll(thorough, progress)
const memory = await measureMemory(progress)
const engine = await measureEngine(progress)

if (process.argv.includes("--json")) console.log(toJson(results, memory, engine))
else console.log(`${toTable(results, memory)}\n\n${toEngineTable(engine)}\n\n${toBounds(results, memory)}`)
