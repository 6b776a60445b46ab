/**
 * `npm run test:soak`: long drills on Redis and on Postgres. Half of the processes are never killed, and must not grow.
 *
 * --minutes n   how long all drills take together (default 60)
 * --seed seed   seed of the first drill's faults (default: random); each further drill adds 1
 */
import { parseArgs } from "node:util"
import { wholeNumber } from "../support/options.ts"
import { growth, inWords } from "./growth.ts"
import { startPostgres } from "./postgres.ts"
import { startRedis } from "./redis.ts"
import { runDrill } from "./run.ts"

/** The logs of a longer drill would not fit into memory. */
const LONGEST_MINUTES = 10
/** Of the usual load, for the same reason. */
const SHARE = 0.25
const SPARED = 4

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) }
  }
})
const minutes = wholeNumber("minutes", values.minutes, { least: 2 })
const first = wholeNumber("seed", values.seed, { least: 0 })

const servers = [["redis", startRedis], ["postgres", startPostgres]] as const
const rounds = Math.ceil(minutes / servers.length / LONGEST_MINUTES)
const seconds = Math.round(60 * minutes / servers.length / rounds / 2)

for (let round = 0; round < rounds; round++) {
  for (const [i, [name, start]] of servers.entries()) {
    const seed = first + round * servers.length + i
    const { broken, calls, faults, usage: [between, end] } = await runDrill({
      start,
      seed,
      seconds,
      spared: SPARED,
      share: SHARE
    })
    const wrong = [...broken, ...growth(between, end)]
    const total = calls.reduce((sum, count) => sum + count, 0)
    console.log(`${name}, seed ${seed}: ${total} calls of ${calls.length} processes, ${faults.length} faults`)
    console.log(`  in the middle: ${inWords(between)}; at the end: ${inWords(end)}`)
    for (const what of wrong.slice(0, 20)) console.log(`  BROKEN ${what}`)
    if (wrong.length > 0) process.exitCode = 1
  }
}
console.log(process.exitCode === 1 ? "something is broken, or grows" : "all holds, and nothing grows")
