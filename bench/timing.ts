/**
 * Times calls: each contender in a process of its own, a slice of calls at a time, contenders in turn.
 *
 * - A process of its own, because a real process has one breaker library. Several in one process slow each other down
 *   by what the compiler learns from the others' code, and not equally.
 * - In turn, because the speed of a machine changes by the second. Within a pass it is the same for all contenders.
 * - A slice of bare calls stands next to each slice of calls through the breaker. The result is the median of the
 *   differences of all passes.
 * - New processes several times, because the speed that a process reaches is decided in its first second and differs.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import type { Case } from "./cases.ts"
import type { Result } from "./results.ts"
import type { Request, Slice } from "./worker.ts"

export interface Effort {
  /** How often all contenders start in new processes. */
  readonly launches: number
  /** Slices of each pair of case and contender, per launch. */
  readonly passes: number
  readonly warmUpMillis: number
  readonly sliceMillis: number
}

export const thorough: Effort = { launches: 3, passes: 10, warmUpMillis: 400, sliceMillis: 10 }

interface Pair {
  readonly case: string
  readonly contender: string
  readonly samples: Array<Slice>
}

export const timeAll = async (
  cases: ReadonlyArray<Case>,
  effort: Effort,
  progress: (text: string) => void
): Promise<Array<Result>> => {
  const pairs: ReadonlyArray<Pair> = cases.flatMap(({ contenders, name }) =>
    contenders.map((contender) => ({ case: name, contender, samples: [] }))
  )
  for (let launch = 1; launch <= effort.launches; launch++) {
    progress(`calls, launch ${launch} of ${effort.launches}`)
    await runLaunch(pairs, effort)
  }
  return pairs.map(({ case: name, contender, samples }) => ({
    case: name,
    contender,
    addedNs: median(samples.map(({ bare, call }) => call - bare)),
    bareNs: median(samples.map(({ bare }) => bare))
  }))
}

const runLaunch = async (pairs: ReadonlyArray<Pair>, effort: Effort): Promise<void> => {
  const { passes, sliceMillis, warmUpMillis } = effort
  const workers = new Map<string, Worker>()
  for (const { contender } of pairs) {
    if (!workers.has(contender)) workers.set(contender, new Worker(contender))
  }
  try {
    // Two processes at once, the cases of each in order.
    await twoAtOnce([...workers], async ([contender, worker]) => {
      for (const pair of pairs.filter((pair) => pair.contender === contender)) {
        await worker.request({ _tag: "Prepare", case: pair.case, warmUpMillis, sliceMillis })
      }
    })
    for (let pass = 0; pass < passes; pass++) {
      for (const pair of pass % 2 === 0 ? pairs : pairs.toReversed()) {
        const bareFirst = pass % 4 < 2
        const reply = await workers.get(pair.contender)!.request({ _tag: "Slice", case: pair.case, bareFirst })
        pair.samples.push(reply as Slice)
      }
    }
    for (const pair of pairs) await workers.get(pair.contender)!.request({ _tag: "Check", case: pair.case })
  } finally {
    for (const worker of workers.values()) worker.stop()
  }
}

const twoAtOnce = async <A>(items: Array<A>, f: (item: A) => Promise<void>): Promise<void> => {
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
      execArgv: ["--expose-gc"],
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
  }

  async request(request: Request): Promise<Slice | "done"> {
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
