/**
 * `npm run test:sim`: runs random schedules, on all processors.
 *
 * --schedules n   how many (default 10,000)
 * --from seed     from which seed on (default 1)
 * --seed seed     this one alone, with its schedule shrunk
 * --first         in order, until one fails
 */
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"
import { wholeNumber } from "../support/options.ts"
import { explain } from "./explain.ts"
import { scheduleFrom } from "./schedule.ts"
import { simulate } from "./simulate.ts"

interface Share {
  readonly first: number
  readonly end: number
  readonly step: number
}

/** The most failures to print. */
const MOST_FAILURES = 5

const failingAmong = function*({ end, first, step }: Share): Generator<readonly [seed: number, broken: string]> {
  for (let seed = first; seed < end; seed += step) {
    const failure = simulate(scheduleFrom(seed))
    if (failure !== undefined) yield [seed, failure.broken[0]!]
  }
}

const failingOf = (share: Share): Promise<ReadonlyArray<number>> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: share })
    worker.on("message", resolve)
    worker.on("error", reject)
  })

const runAll = async (first: number, schedules: number): Promise<void> => {
  const start = performance.now()
  const step = availableParallelism()
  const shares = Array.from({ length: step }, (_, i) => ({ first: first + i, end: first + schedules, step }))
  const seeds = (await Promise.all(shares.map(failingOf))).flat().sort((a, b) => a - b)
  const seconds = (performance.now() - start) / 1000
  for (const seed of seeds.slice(0, MOST_FAILURES)) console.log(`${explain(seed)}\n`)
  const found = seeds.length === 0 ? "all hold" : `fail: ${seeds.join(", ")}`
  console.log(`${schedules} schedules in ${seconds.toFixed(1)} s, ${found}`)
  process.exitCode = seeds.length === 0 ? 0 : 1
}

if (isMainThread) {
  const { values } = parseArgs({
    options: {
      schedules: { type: "string", default: "10000" },
      from: { type: "string", default: "1" },
      seed: { type: "string" },
      first: { type: "boolean", default: false }
    }
  })
  const first = wholeNumber("from", values.from, { least: 0 })
  const schedules = wholeNumber("schedules", values.schedules, { least: 1 })
  if (values.seed !== undefined) {
    const explanation = explain(wholeNumber("seed", values.seed, { least: 0 }))
    console.log(explanation ?? `Seed ${values.seed}: all holds`)
    process.exitCode = explanation === undefined ? 0 : 1
  } else if (values.first) {
    const [failed] = failingAmong({ first, end: first + schedules, step: 1 }).take(1)
    console.log(failed === undefined ? `${schedules} schedules, all hold` : `Seed ${failed[0]} fails: ${failed[1]}`)
  } else await runAll(first, schedules)
} else {
  parentPort!.postMessage(failingAmong(workerData as Share).take(MOST_FAILURES).map(([seed]) => seed).toArray())
}
