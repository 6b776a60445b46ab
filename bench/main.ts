/**
 * `npm run bench` measures the cost of a call through a breaker on this machine, ours and others'. `-- --json` prints
 * the same as JSON. `-- --case closed` measures only the calls of the cases that have this text in their names.
 *
 * Results are medians of the time that is added to the bare call. Compare them within a run, not between runs.
 */
import { parseArgs } from "node:util"
import { boundsOf } from "./bounds.ts"
import { cases } from "./cases.ts"
import { measureEngine } from "./engine.ts"
import { measureMemory } from "./memory.ts"
import { toJson, toText } from "./report.ts"
import { measureScrape } from "./scrape.ts"
import { thorough, timeAll } from "./timing.ts"

const progress = (text: string) => {
  if (process.stderr.isTTY) console.error(`… ${text}`)
}

const { values } = parseArgs({ options: { json: { type: "boolean", default: false }, case: { type: "string" } } })
const part = values.case
const timed = cases.filter(({ name }) => part === undefined || name.includes(part))
if (timed.length === 0) {
  console.error(`--case is ${part}, expected a part of one of ${cases.map(({ name }) => name).join(", ")}`)
  process.exit(2)
}

const calls = await timeAll(timed, thorough, progress)
const memory = part === undefined ? await measureMemory(progress) : []
const engine = part === undefined ? [...await measureEngine(progress), ...await measureScrape(progress)] : []
const results = { calls, memory, engine, bounds: boundsOf(calls, memory) }

console.log(values.json ? toJson(results) : toText(results))
