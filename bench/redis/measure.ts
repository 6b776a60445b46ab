/** The measurements on Redis, of this library and of Effect's own breaker. */
import {
  byCase,
  inThousands,
  inTurn,
  measureCost as costOf,
  measureDelay as delayOf,
  measurePropagation as propagationOf,
  workAt
} from "../fleet/measure.ts"
import { contendersIn, type Start } from "../fleet/process.ts"
import type { Measure, Result } from "../fleet/report.ts"
import type { Requests } from "../fleet/worker.ts"
import { median } from "../timing.ts"
import { startSlowWay, watchWork } from "./server.ts"

const withContenders = contendersIn(new URL("./contenders.ts", import.meta.url))

const start = (name: string): Start => ({ name })

const FIBERS = [1, 64, 1024]
const EFFECT = ["effect", "effect-node-redis"]

/** Calls per second of one process, by the number of fibers that make them. */
export const measureRush: Measure = async (progress) => {
  progress("calls per second")
  const rates = new Map<string, Array<number>>()
  const of = (contender: string, fibers: number) => {
    const key = `${contender} ${fibers}`
    if (!rates.has(key)) rates.set(key, [])
    return rates.get(key)!
  }
  const requests = FIBERS.map((fibers) => ({ fibers, millis: 250 }))
  await inTurn(
    withContenders,
    ["ours", "ours-strict", ...EFFECT].map(start),
    { launches: 2, passes: 8 },
    "rush",
    requests,
    (contender, { fibers }, rate) => of(contender, fibers).push(rate)
  )
  const row = (name: string, contender: string, fibers: number, measured = contender): Result => ({
    case: `${name}-${fibers}`,
    contender,
    value: median(of(measured, fibers)),
    unit: "calls/s"
  })
  return ["local", "strict"].flatMap((mode) =>
    FIBERS.flatMap((fibers) => [
      row(mode, "ours", fibers, mode === "strict" ? "ours-strict" : "ours"),
      // Effect's own breaker has one mode, which stands in both rows.
      ...EFFECT.map((contender) => row(mode, contender, fibers))
    ])
  )
}

/** The cost of a call under `local`, on Redis and on memory. */
export const measureCost: Measure = (progress) => {
  progress("the cost of a call")
  return costOf(withContenders, ["ours", "ours-memory"].map(start))
}

export const measurePropagation: Measure = (progress) => {
  progress("from a change here to a rejection there")
  return propagationOf(withContenders, { ours: start("ours-any"), effect: start("effect") }, {
    warmUpPasses: 20,
    passes: 300,
    circuits: 1,
    millis: 0
  })
}

/** The work of Redis per second, by the rate of calls and by the number of circuits. */
export const measureCommands: Measure = (progress) =>
  withContenders(["ours", "effect"].map(start), async (contenders) => {
    const results: Array<Result> = []
    const work = await watchWork()
    const measure = async (name: string, who: number, load: Omit<Requests["pace"], "seconds">) => {
      progress(`commands ${name}`)
      for (const contender of contenders.slice(0, who)) {
        const { calls, commands, cpuMillis, scripts } = await workAt(contender, { ...load, seconds: 10 }, work)
        const row = (what: string, value: number, unit: string) => {
          results.push({ case: `${what}-${name}`, contender: contender.name, value, unit })
        }
        row("commands", commands, "commands/s")
        row("scripts", scripts, "scripts/s")
        row("redis-cpu", cpuMillis, "ms/s")
        row("calls", calls, "calls/s")
      }
    }
    for (const rate of [1000, 10_000, 100_000]) {
      await measure(`at-${inThousands(rate)}`, 2, { rate, circuits: 1, failing: 0 })
    }
    await measure("at-100k-failing", 1, { rate: 100_000, circuits: 1, failing: 0.01 })
    for (const circuits of [1, 100, 1000, 10_000]) {
      await measure(`of-${inThousands(circuits)}-circuits`, 1, { rate: circuits, circuits, failing: 0 })
    }
    return byCase(results)
  })

/** The delay of the event loop under load, with a Redis that answers normally, after 600 ms, or never. */
export const measureDelay: Measure = async (progress) => {
  progress("the event loop's delay")
  const ways = [await startSlowWay(600), await startSlowWay(Infinity)]
  const ours = (name: string, env = {}) => ({ case: name, contender: "ours", start: { name: "ours", env } })
  try {
    return await delayOf(withContenders, [
      ours("event-loop"),
      ours("event-loop-slow", { REDIS_URL: ways[0]!.url }),
      ours("event-loop-silent", { REDIS_URL: ways[1]!.url })
    ], 6)
  } finally {
    for (const way of ways) await way.stop()
  }
}
