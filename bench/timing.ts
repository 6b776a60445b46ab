/**
 * How calls are timed: each contender in a process of its own, slices of their calls in turn.
 *
 * A process of its own, because one runs one library of breakers: several in one process slow each other down, by what the
 * compiler learns from the others' code, and not equally. In turn, because the machine's speed changes by the second: within
 * a round it is the same for all. What counts is the median over all rounds of what a slice of calls took longer than the
 * slice of bare calls next to it. The whole is done several times with new processes, because how fast a process ever gets is
 * decided in its first second and differs.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { cases } from "./cases.ts"
import type { Result } from "./report.ts"
import type { Request, Slice } from "./worker.ts"

export interface Effort {
  readonly generations: number
  readonly rounds: number
  readonly warmUpMs: number
  readonly sliceMs: number
}

/** With the memory cases, some 100 seconds on two cores. */
export const thorough: Effort = { generations: 3, rounds: 10, warmUpMs: 400, sliceMs: 10 }

interface Pair {
  readonly case: string
  readonly contender: string
  readonly samples: Array<Slice>
}

export const timeAll = async (effort: Effort, progress: (text: string) => void): Promise<Array<Result>> => {
  const pairs: ReadonlyArray<Pair> = cases.flatMap(({ contenders, name }) =>
    contenders.map((contender) => ({ case: name, contender, samples: [] }))
  )
  for (let generation = 1; generation <= effort.generations; generation++) {
    progress(`calls, processes ${generation} of ${effort.generations}`)
    await runGeneration(pairs, effort)
  }
  return pairs.map(({ case: name, contender, samples }) => ({
    case: name,
    contender,
    addedNs: median(samples.map(({ bare, call }) => call - bare)),
    bareNs: median(samples.map(({ bare }) => bare))
  }))
}

const runGeneration = async (pairs: ReadonlyArray<Pair>, effort: Effort): Promise<void> => {
  const workers = new Map<string, Worker>()
  for (const { contender } of pairs) {
    if (!workers.has(contender)) workers.set(contender, new Worker(contender))
  }
  try {
    // Cases in order within a process, two processes at once.
    await inPairs([...workers], async ([contender, worker]) => {
      for (const pair of pairs.filter((pair) => pair.contender === contender)) {
        await worker.ask({ _tag: "Prepare", case: pair.case, warmUpMs: effort.warmUpMs, sliceMs: effort.sliceMs })
      }
    })
    for (let round = 0; round < effort.rounds; round++) {
      for (const pair of round % 2 === 0 ? pairs : pairs.toReversed()) {
        const reply = await workers.get(pair.contender)!.ask({
          _tag: "Slice",
          case: pair.case,
          bareFirst: round % 4 < 2
        })
        pair.samples.push(reply as Slice)
      }
    }
    for (const pair of pairs) await workers.get(pair.contender)!.ask({ _tag: "Check", case: pair.case })
  } finally {
    for (const worker of workers.values()) worker.stop()
  }
}

const inPairs = async <A>(items: Array<A>, f: (item: A) => Promise<void>): Promise<void> => {
  const queue = items.values()
  const work = async () => {
    for (const item of queue) await f(item)
  }
  await Promise.all([work(), work()])
}

class Worker {
  readonly #contender: string
  readonly #child: ChildProcess

  constructor(contender: string) {
    this.#contender = contender
    this.#child = fork(new URL("./worker.ts", import.meta.url), [contender], {
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
  }

  async ask(request: Request): Promise<Slice | "done"> {
    const ended = new AbortController()
    try {
      this.#child.send(request)
      return await Promise.race([
        once(this.#child, "message", { signal: ended.signal }).then(([reply]) => reply),
        once(this.#child, "exit", { signal: ended.signal }).then(() => {
          throw new Error(`the process of ${this.#contender} ended during ${request.case}`)
        })
      ])
    } finally {
      ended.abort()
    }
  }

  stop(): void {
    this.#child.kill()
  }
}

export const median = (numbers: ReadonlyArray<number>): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
