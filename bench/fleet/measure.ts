/**
 * The measurements that the benchmarks of all storages share.
 *
 * Each contender has a process of its own. They run one at a time, in turn, because the speed of a machine changes by
 * the second. A result is the median of all passes. Compare results within a run only.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { median } from "../timing.ts"
import type { Contender, Start, WithContenders } from "./process.ts"
import type { Result } from "./report.ts"
import type { Replies, Requests } from "./worker.ts"

type With = WithContenders<Contender>

/** Sends the same requests to each contender in turn, once per pass, in new processes for each launch. */
export const inTurn = async <K extends keyof Requests>(
  withContenders: With,
  starts: ReadonlyArray<Start>,
  { launches, passes }: { readonly launches: number; readonly passes: number },
  what: K,
  requests: ReadonlyArray<Requests[K]>,
  received: (contender: string, request: Requests[K], reply: Replies[K]) => void
): Promise<void> => {
  for (let launch = 0; launch < launches; launch++) {
    await withContenders(starts, async (contenders) => {
      for (let pass = 0; pass <= passes; pass++) {
        for (const request of requests) {
          for (const contender of pass % 2 === 0 ? contenders : contenders.toReversed()) {
            const reply = await contender.request(what, request)
            // The first pass warms up.
            if (pass > 0) received(contender.name, request, reply)
          }
        }
      }
    })
  }
}

/** The cost of a call with the consistency `local`. */
export const measureCost = async (
  withContenders: With,
  starts: ReadonlyArray<Start>
): Promise<ReadonlyArray<Result>> => {
  const added = new Map(starts.map(({ name }): [string, Array<number>] => [name, []]))
  await inTurn(
    withContenders,
    starts,
    { launches: 3, passes: 40 },
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

export const percentile = (numbers: ReadonlyArray<number>, share: number): number =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(numbers.length * share))]!

interface Changes {
  readonly warmUpPasses: number
  readonly passes: number
  /** Circuits that open in each pass. */
  readonly circuits: number
  /** The time over which they open, one after another. */
  readonly millis: number
}

/**
 * The time from the failure that opens a circuit in one process to the first rejection in another, its commit included.
 */
export const measurePropagation = (
  withContenders: With,
  starts: Readonly<Record<string, Start>>,
  { circuits, millis, passes, warmUpPasses }: Changes
): Promise<ReadonlyArray<Result>> =>
  withContenders(Object.values(starts).flatMap((start) => [start, start]), async (contenders) => {
    const run = Date.now().toString(36)
    const pairs = Object.keys(starts).map((name, i) => ({
      name,
      here: contenders[2 * i]!,
      there: contenders[2 * i + 1]!,
      times: new Array<number>()
    }))
    for (let pass = -warmUpPasses; pass < passes; pass++) {
      for (const { here, name, there, times } of pairs) {
        const names = Array.from({ length: circuits }, (_, i) => `${run}-${name}-${pass}-${i}`)
        await there.request("watch", { circuits: names })
        const at = await here.request("trip", { circuits: names, millis })
        const rejected = await there.request("rejected", {})
        if (pass >= 0) times.push(...rejected.map((time, i) => time - at[i]!))
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

/** The work per second while a process makes calls at a given rate. `work` returns the totals so far. */
export const workAt = async <K extends string>(
  contender: Contender,
  load: Requests["pace"],
  work: () => Promise<Readonly<Record<K, number>>>
): Promise<Readonly<Record<K | "calls", number>>> => {
  // Time for circuits to load, and for the pending reports of the previous measurement.
  const leadSeconds = 2
  await contender.request("pace", { ...load, seconds: leadSeconds + load.seconds + 1 })
  await sleep(leadSeconds * 1000)
  const [before, start] = [await work(), performance.now()]
  await sleep(load.seconds * 1000)
  const [after, end] = [await work(), performance.now()]
  const rate = (what: K) => (after[what] - before[what]) * 1000 / (end - start)
  const rates = (Object.keys(after) as Array<K>).map((what) => [what, rate(what)])
  return { ...Object.fromEntries(rates), calls: await contender.request("paced", {}) }
}

export const inThousands = (count: number): string => count < 1000 ? `${count}` : `${count / 1000}k`

/** The delay of the event loop under load. */
export const measureDelay = async (
  withContenders: With,
  measured: ReadonlyArray<{ readonly case: string; readonly contender: string; readonly start: Start }>,
  passes: number
): Promise<ReadonlyArray<Result>> => {
  const samples = measured.map((): Array<Replies["delay"]> => [])
  const load = { rate: 20_000, seconds: 2, circuits: 100, failing: 0.01 }
  await withContenders(measured.map(({ start }) => start), async (contenders) => {
    for (let pass = 0; pass <= passes; pass++) {
      for (const [i, contender] of contenders.entries()) {
        const reply = await contender.request("delay", load)
        if (pass > 0) samples[i]!.push(reply)
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

/** Sorts the results so that the contenders of a case stand together. */
export const byCase = (results: ReadonlyArray<Result>): ReadonlyArray<Result> => {
  const order = ({ case: name }: Result) => results.findIndex((result) => result.case === name)
  return results.toSorted((a, b) => order(a) - order(b))
}
