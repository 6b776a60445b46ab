/** Whether processes hold more and more. */
import type { Usage } from "./worker.ts"

/** Of the heap and in bytes: what code that is compiled later, and caches of Node, may add. */
const MORE_HEAP = 0.15
const MORE_BYTES = 3_000_000
/** Connections that are made anew after a fault while the old ones close. */
const MORE_HANDLES = 4

/** What of two looks at the same processes, both without load, shows growth. */
export const growth = (before: ReadonlyArray<Usage>, after: ReadonlyArray<Usage>): ReadonlyArray<string> =>
  before.flatMap((then, process) => {
    const now = after[process]!
    return [
      ...now.heap <= then.heap * (1 + MORE_HEAP) + MORE_BYTES
        ? []
        : [`the heap of process ${process} has grown from ${inMegabytes(then.heap)} to ${inMegabytes(now.heap)}`],
      ...now.handles <= then.handles + MORE_HANDLES
        ? []
        : [`process ${process} has ${now.handles} handles, after ${then.handles}`]
    ]
  })

const inMegabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** The smallest and the largest of all looks, in words. */
export const inWords = (usage: ReadonlyArray<Usage>): string => {
  const range = (of: (usage: Usage) => number, inWords: (value: number) => string): string =>
    `${inWords(Math.min(...usage.map(of)))} to ${inWords(Math.max(...usage.map(of)))}`
  return `heap ${range(({ heap }) => heap, inMegabytes)}, handles ${range(({ handles }) => handles, String)}`
}
