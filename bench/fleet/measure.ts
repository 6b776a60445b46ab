/**
 * What is measured of any storage, and how.
 *
 * Each contender runs in a process of its own, one at a time, in turn, because the machine's speed changes by the second; what
 * counts is the median of all rounds. Compare within a run only.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { median } from "../timing.ts"
import type { Contender, Start, WithContenders } from "./process.ts"
import type { Result } from "./report.ts"
import type { Replies, Requests } from "./worker.ts"

type With = WithContenders<Contender>

/** The same question to each in turn, as often as there are rounds, in new processes each generation. */
export const inTurn = async <K extends keyof Requests>(
  withContenders: With,
  starts: ReadonlyArray<Start>,
  { generations, rounds }: { readonly generations: number; readonly rounds: number },
  what: K,
  requests: ReadonlyArray<Requests[K]>,
  heard: (contender: string, request: Requests[K], reply: Replies[K]) => void
): Promise<void> => {
  for (let generation = 0; generation < generations; generation++) {
    await withContenders(starts, async (contenders) => {
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

/** What a call in `local` costs. */
export const measureCost = async (
  withContenders: With,
  starts: ReadonlyArray<Start>
): Promise<ReadonlyArray<Result>> => {
  const added = new Map(starts.map(({ name }): [string, Array<number>] => [name, []]))
  await inTurn(
    withContenders,
    starts,
    { generations: 3, rounds: 40 },
    "cost",
    [{ millis: 10, alike: [...added.keys()] }],
    (contender, _, { bare, call }) => added.get(contender)!.push(call - bare)
  )
  return [...added].map(([contender, samples]) => ({
    case: "added-local",
    contender,
    value: median(samples),
    unit: "ns/call"
  }))
}

const percentile = (numbers: ReadonlyArray<number>, share: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))]!

interface Changes {
  readonly warmUp: number
  readonly rounds: number
  /** Circuits of a round. */
  readonly circuits: number
  /** Over how long they change. */
  readonly millis: number
}

/** From the failure that opens a circuit in one process, its commit included, to the first rejection in another. */
export const measurePropagation = (
  withContenders: With,
  starts: Readonly<Record<string, Start>>,
  { circuits, millis, rounds, warmUp }: Changes
): Promise<ReadonlyArray<Result>> =>
  withContenders(Object.values(starts).flatMap((start) => [start, start]), async (contenders) => {
    const run = Date.now().toString(36)
    const pairs = Object.keys(starts).map((name, i) => ({
      name,
      here: contenders[2 * i]!,
      there: contenders[2 * i + 1]!,
      times: new Array<number>()
    }))
    for (let round = -warmUp; round < rounds; round++) {
      for (const { here, name, there, times } of pairs) {
        const names = Array.from({ length: circuits }, (_, i) => `${run}-${name}-${round}-${i}`)
        await there.ask("watch", { circuits: names })
        const at = await here.ask("trip", { circuits: names, millis })
        const rejected = await there.ask("rejected", {})
        if (round >= 0) times.push(...rejected.map((time, i) => time - at[i]!))
      }
    }
    return [0.5, 0.99].flatMap((share) =>
      pairs.map(({ name, times }) => ({
        case: `propagation-p${share * 100}`,
        contender: name,
        value: percentile(times, share),
        unit: "ms"
      }))
    )
  })

/** What is done in a second while a process makes calls at some rate; `work` says what was done so far. */
export const workAt = async <K extends string>(
  contender: Contender,
  load: Requests["pace"],
  work: () => Promise<Readonly<Record<K, number>>>
): Promise<Readonly<Record<K | "calls", number>>> => {
  // Loads, and what the circuits of the last run had still to say.
  const lead = 2
  await contender.ask("pace", { ...load, seconds: lead + load.seconds + 1 })
  await sleep(lead * 1000)
  const [before, start] = [await work(), performance.now()]
  await sleep(load.seconds * 1000)
  const [after, end] = [await work(), performance.now()]
  const rate = (what: K) => (after[what] - before[what]) * 1000 / (end - start)
  const rates = (Object.keys(after) as Array<K>).map((what) => [what, rate(what)])
  return { ...Object.fromEntries(rates), calls: await contender.ask("paced", {}) }
}

export const inThousands = (count: number): string => count < 1000 ? `${count}` : `${count / 1000}k`

/** How late the event loop is under load. */
export const measureDelay = async (
  withContenders: With,
  measured: ReadonlyArray<{ readonly case: string; readonly contender: string; readonly start: Start }>,
  rounds: number
): Promise<ReadonlyArray<Result>> => {
  const samples = measured.map((): Array<Replies["delay"]> => [])
  const load = { rate: 20_000, seconds: 2, circuits: 100, failing: 0.01 }
  await withContenders(measured.map(({ start }) => start), async (contenders) => {
    for (let round = 0; round <= rounds; round++) {
      for (const [i, contender] of contenders.entries()) {
        const reply = await contender.ask("delay", load)
        if (round > 0) samples[i]!.push(reply)
      }
    }
  })
  return (["p50", "p99", "max"] as const).flatMap((what) =>
    measured.map(({ case: name, contender }, i) => ({
      case: `${name}-${what}`,
      contender,
      value: median(samples[i]!.map((sample) => sample[what])),
      unit: "ms"
    }))
  )
}

/** Contenders of a case side by side. */
export const byCase = (results: ReadonlyArray<Result>): ReadonlyArray<Result> => {
  const order = ({ case: name }: Result) => results.findIndex((result) => result.case === name)
  return results.toSorted((a, b) => order(a) - order(b))
}
