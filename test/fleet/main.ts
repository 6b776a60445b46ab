/**
 * `npm run test:fleet`: drills with real processes on real servers, which inflict faults on both.
 *
 * --on server   redis (the default) or postgres
 * --rounds n    number of drills (default 5)
 * --seed seed   seed of the first drill's faults (default: random); each further drill adds 1
 * --seconds n   duration of each of a drill's two parts (default 40)
 */
import { parseArgs } from "node:util"
import { wholeNumber } from "../support/options.ts"
import { startPostgres } from "./postgres.ts"
import { startRedis } from "./redis.ts"
import { runDrill } from "./run.ts"

const { values } = parseArgs({
  options: {
    on: { type: "string", default: "redis" },
    rounds: { type: "string", default: "5" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
    seconds: { type: "string", default: "40" }
  }
})

const servers = { redis: startRedis, postgres: startPostgres }
const isServer = (name: string): name is keyof typeof servers => Object.hasOwn(servers, name)
if (!isServer(values.on)) {
  throw new RangeError(`--on must be one of ${Object.keys(servers).join(", ")}, and is ${values.on}`)
}

const first = wholeNumber("seed", values.seed, { least: 0 })
const rounds = wholeNumber("rounds", values.rounds, { least: 1 })
const seconds = wholeNumber("seconds", values.seconds, { least: 1 })
for (let seed = first; seed < first + rounds; seed++) {
  console.log(`seed ${seed}`)
  const start = performance.now()
  const { agreedAfter, broken, calls, faults, late } = await runDrill({
    start: servers[values.on],
    seed,
    seconds,
    progress: (text) => console.log(`  ${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${text}`)
  })
  const total = calls.reduce((sum, count) => sum + count, 0)
  console.log(
    `  ${total} calls of ${calls.length} processes, ${faults.length} faults, all agree ${
      agreedAfter.toFixed(0)
    } ms after the last; a process was kept from running for ${Math.max(...late).toFixed(0)} ms`
  )
  for (const what of broken.slice(0, 20)) console.log(`  BROKEN ${what}`)
  if (broken.length > 0) process.exitCode = 1
}
console.log(process.exitCode === 1 ? "something is broken" : "all holds")
