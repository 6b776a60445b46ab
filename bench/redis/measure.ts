/**
 * What is measured, and how.
 *
 * Each contender runs in a process of its own, one at a time, in turn, because the machine's speed changes by the second; what
 * counts is the median of all rounds. Compare within a run only.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { median } from "../timing.ts"
import { type Contender, withContenders } from "./process.ts"
import type { Result } from "./report.ts"
import { startSlowWay, watchWork, type Work } from "./server.ts"
import type { Replies, Requests } from "./worker.ts"

export type Measure = (url: string, progress: (text: string) => void) => Promise<ReadonlyArray<Result>>

const FIBERS = [1, 64, 1024]
const EFFECT = ["effect", "effect-node-redis"]

/** The same question to each in turn, as often as there are rounds, in new processes each generation. */
const inTurn = async <K extends keyof Requests>(
  names: ReadonlyArray<string>,
  url: string,
  { generations, rounds }: { readonly generations: number; readonly rounds: number },
  what: K,
  requests: ReadonlyArray<Requests[K]>,
  heard: (contender: string, request: Requests[K], reply: Replies[K]) => void
): Promise<void> => {
  for (let generation = 0; generation < generations; generation++) {
    await withContenders(names.map((name) => [name, url]), async (contenders) => {
      for (let round = 0; round <= rounds; round++) {
        for (const request of requests) {
          for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
            const reply = await contender.ask(what, request)
            // The first is to warm up.
            if (round > 0) heard(contender.name, request, reply)
          }
        }
      }
    })
  }
}

/** Calls a second of a fleet of one, by how many fibers make them. */
export const measureRush: Measure = async (url, progress) => {
  progress("calls a second")
  const rates = new Map<string, Array<number>>()
  const of = (contender: string, fibers: number) => {
    const key = `${contender} ${fibers}`
    if (!rates.has(key)) rates.set(key, [])
    return rates.get(key)!
  }
  const requests = FIBERS.map((fibers) => ({ fibers, millis: 250 }))
  await inTurn(
    ["ours", "ours-strict", ...EFFECT],
    url,
    { generations: 2, rounds: 8 },
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
      // It has no modes.
      ...EFFECT.map((contender) => row(mode, contender, fibers))
    ])
  )
}

/** What a call in `local` costs on Redis and on the memory of its process. */
export const measureCost: Measure = async (url, progress) => {
  progress("what a call costs")
  const added: Record<string, Array<number>> = { "ours": [], "ours-memory": [] }
  await inTurn(
    Object.keys(added),
    url,
    { generations: 3, rounds: 40 },
    "cost",
    [{ millis: 10 }],
    (contender, _, { bare, call }) => added[contender]!.push(call - bare)
  )
  return Object.entries(added).map(([contender, samples]) => ({
    case: "added-local",
    contender,
    value: median(samples),
    unit: "ns/call"
  }))
}

const percentile = (numbers: ReadonlyArray<number>, share: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))]!

/** From the failure that opens a circuit in one process, its commit included, to the first rejection in another. */
export const measurePropagation: Measure = async (url, progress) => {
  progress("from a change here to a rejection there")
  const run = Date.now().toString(36)
  const times: Record<string, Array<number>> = { "ours": [], "effect": [] }
  const starts = ["ours-any", "ours-any", "effect", "effect"].map((name) => [name, url] as const)
  await withContenders(starts, async ([ours, oursToo, effect, effectToo]) => {
    const pairs = { ours: [ours!, oursToo!], effect: [effect!, effectToo!] } as const
    for (let round = -20; round < 300; round++) {
      for (const [name, [here, there]] of Object.entries(pairs)) {
        const circuit = `${run}-${name}-${round}`
        await there.ask("watch", { circuit })
        const at = await here.ask("trip", { circuit })
        const rejected = await there.ask("rejected", {})
        if (round >= 0) times[name]!.push(rejected - at)
      }
    }
  })
  return [0.5, 0.99].flatMap((share) =>
    Object.entries(times).map(([contender, samples]) => ({
      case: `propagation-p${share * 100}`,
      contender,
      value: percentile(samples, share),
      unit: "ms"
    }))
  )
}

/** What Redis does in a second while a process makes calls at some rate. */
const workAt = async (
  url: string,
  contender: Contender,
  load: Omit<Requests["pace"], "seconds">
): Promise<ReadonlyArray<readonly [what: string, value: number, unit: string]>> => {
  const work = await watchWork(url)
  const seconds = 10
  const made = contender.ask("pace", { ...load, seconds: seconds + 3 })
  // Loads, and what the circuits of the last run had still to say.
  await sleep(2000)
  const [before, start] = [await work(), performance.now()]
  await sleep(seconds * 1000)
  const [after, end] = [await work(), performance.now()]
  const aSecond = (what: keyof Work) => (after[what] - before[what]) * 1000 / (end - start)
  return [
    ["commands", aSecond("commands"), "commands/s"],
    ["scripts", aSecond("scripts"), "scripts/s"],
    ["redis-cpu", aSecond("cpuMillis"), "ms/s"],
    ["calls", await made, "calls/s"]
  ]
}

const inThousands = (count: number): string => count < 1000 ? `${count}` : `${count / 1000}k`

/** What Redis does in a second, by the rate of calls and by the number of circuits. */
export const measureCommands: Measure = (url, progress) =>
  withContenders([["ours", url], ["effect", url]], async (contenders) => {
    const results: Array<Result> = []
    const measure = async (name: string, who: number, load: Omit<Requests["pace"], "seconds">) => {
      progress(`commands ${name}`)
      for (const contender of contenders.slice(0, who)) {
        for (const [what, value, unit] of await workAt(url, contender, load)) {
          results.push({ case: `${what}-${name}`, contender: contender.name, value, unit })
        }
      }
    }
    for (const rate of [1000, 10_000, 100_000]) {
      await measure(`at-${inThousands(rate)}`, 2, { rate, circuits: 1, failing: 0 })
    }
    await measure("at-100k-failing", 1, { rate: 100_000, circuits: 1, failing: 0.01 })
    for (const circuits of [1, 100, 1000, 10_000]) {
      await measure(`of-${inThousands(circuits)}-circuits`, 1, { rate: circuits, circuits, failing: 0 })
    }
    return results.toSorted((a, b) => order(results, a) - order(results, b))
  })

/** Contenders of a case side by side. */
const order = (results: ReadonlyArray<Result>, { case: name }: Result): number =>
  results.findIndex((result) => result.case === name)

/** How late the event loop is under load: with Redis as it is, with one that takes 600 ms, and with one that is silent. */
export const measureDelay: Measure = async (url, progress) => {
  progress("the event loop's delay")
  const ways = [await startSlowWay(url, 600), await startSlowWay(url, Infinity)]
  const names = ["event-loop", "event-loop-slow", "event-loop-silent"]
  const samples = names.map((): Array<Replies["delay"]> => [])
  const load = { rate: 20_000, seconds: 2, circuits: 100, failing: 0.01 }
  try {
    await withContenders([url, ...ways.map((way) => way.url)].map((way) => ["ours", way]), async (contenders) => {
      for (let round = 0; round <= 6; round++) {
        for (const [i, contender] of contenders.entries()) {
          const reply = await contender.ask("delay", load)
          if (round > 0) samples[i]!.push(reply)
        }
      }
    })
  } finally {
    for (const way of ways) await way.stop()
  }
  return (["p50", "p99", "max"] as const).flatMap((what) =>
    names.map((name, i) => ({
      case: `${name}-${what}`,
      contender: "ours",
      value: median(samples[i]!.map((sample) => sample[what])),
      unit: "ms"
    }))
  )
}
