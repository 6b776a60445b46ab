/**
 * The window of a stripe in the form in which its row stores it. A circuit has hundreds of counts in its stripes, and each report
 * reads them all, so they are added up as numbers, and there are objects only for the buckets of the sum.
 */
import type { Bucket } from "../core/Buckets.ts"
import { shedCalls } from "../core/Delta.ts"
import { shown } from "../internal/Check.ts"

/**
 * The buckets of one width: the index of the newest, and successes, failures and slow calls of each one after the other, the newest
 * first, without a gap. So what a report changes is at the beginning of the text, and Postgres logs no more than that. `shed` are
 * the calls that were shed in each, absent where there was none.
 */
interface Buckets {
  readonly width: number
  readonly newest: number
  readonly counts: ReadonlyArray<number>
  readonly shed?: ReadonlyArray<number>
}

export type StripeWindow = ReadonlyArray<Buckets>

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const isCounts = (value: unknown): value is ReadonlyArray<number> => Array.isArray(value) && value.every(isCount)

/** In earlier versions `first` is the index of the oldest bucket, which comes first. */
type Stored = Omit<Buckets, "newest"> & ({ readonly newest: number } | { readonly first: number })

const isStored = (value: unknown): value is Stored => {
  const { counts, first, newest = first, shed = [], width } = (value ?? {}) as Partial<Buckets & { first: number }>
  return isCount(width) && isCount(newest) && isCounts(counts) && counts.length % 3 === 0 && isCounts(shed)
}

const newestFirst = (stored: Stored): Buckets => {
  if ("newest" in stored) return stored
  const { counts, first, shed = [], width } = stored
  const indexes = Array.from({ length: counts.length / 3 }, (_, i) => counts.length / 3 - 1 - i)
  return {
    width,
    newest: first + Math.max(0, indexes.length - 1),
    counts: indexes.flatMap((i) => counts.slice(3 * i, 3 * i + 3)),
    shed: indexes.map((i) => shed[i] ?? 0)
  }
}

/** Decodes a window. Throws an error that names the field. */
export const windowFrom = (value: unknown): StripeWindow => {
  if (Array.isArray(value) && value.every(isStored)) return value.map(newestFirst)
  throw new Error(`field window holds ${shown(value)}, expected counts in buckets of each width`)
}

type Sum = { -readonly [Key in keyof Bucket]: Bucket[Key] }

/** The buckets of these windows together, those without a call left out. */
export const bucketsOf = (windows: ReadonlyArray<StripeWindow>): ReadonlyArray<Bucket> => {
  const sums = new Map<number, Map<number, Sum>>()
  for (const { counts, newest, shed = [], width } of windows.flat()) {
    const ofWidth = sums.get(width) ?? new Map<number, Sum>()
    sums.set(width, ofWidth)
    for (let i = 0; 3 * i < counts.length; i++) {
      const [success, failure, slow] = [counts[3 * i]!, counts[3 * i + 1]!, counts[3 * i + 2]!]
      const shedHere = shed[i] ?? 0
      if (success + failure + slow + shedHere === 0) continue
      const index = newest - i
      const sum = ofWidth.get(index)
      if (sum === undefined) {
        ofWidth.set(index, { width, index, success, failure, slow, ...shedCalls(shedHere) })
        continue
      }
      sum.success += success
      sum.failure += failure
      sum.slow += slow
      if (shedHere > 0) sum.shed = (sum.shed ?? 0) + shedHere
    }
  }
  return [...sums.values()].flatMap((ofWidth) => [...ofWidth.values()])
}

/**
 * The window that has these buckets, each of which comes once. It is as long as the time from the oldest to the newest, so the
 * caller leaves out those that are too old, or in the future.
 */
export const windowOf = (buckets: ReadonlyArray<Bucket>): StripeWindow =>
  [...Map.groupBy(buckets, ({ width }) => width)].map(([width, ofWidth]) => {
    const indexes = ofWidth.map(({ index }) => index)
    const newest = Math.max(...indexes)
    const length = newest - Math.min(...indexes) + 1
    const counts = new Array<number>(3 * length).fill(0)
    const shed = new Array<number>(length).fill(0)
    for (const { failure, index, shed: shedHere = 0, slow, success } of ofWidth) {
      const at = newest - index
      counts[3 * at] = success
      counts[3 * at + 1] = failure
      counts[3 * at + 2] = slow
      shed[at] = shedHere
    }
    return { width, newest, counts, ...(shed.some((count) => count > 0) ? { shed } : {}) }
  })
