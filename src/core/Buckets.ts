/**
 * The shared window of a circuit: counts in buckets that are cut by the storage's clock.
 *
 * The width of a bucket follows from the span that it is counted over, so instances with other thresholds share counts,
 * and a short span beside a long one is as exact as alone. Each bucket names its width: a call is counted once in each
 * of the widths that its instance's policy looks at, and they are side by side in one window.
 *
 * A call never counts once it is `within` old, and leaves at most one bucket early. A `within` that is shorter than the
 * narrowest bucket, a second, is as long as that.
 */
import { add, type AgedCounts, type Counts, noCounts } from "./Delta.ts"
import type { StorageMillis } from "./Time.ts"

/** The calls that ended at or after `index * width` and before `(index + 1) * width`, by the storage's clock. */
export interface Bucket extends Counts {
  readonly width: number
  readonly index: number
}

export const MOST_BUCKETS = 60
export const WIDTHS = [1000, 10_000, 60_000, 600_000] as const

/** The width of the buckets that this span is counted in. */
export const widthFor = (within: number): number =>
  // No policy looks back further than ten hours, which is sixty buckets of the widest kind.
  WIDTHS.find((width) => width * MOST_BUCKETS >= within) ?? WIDTHS[3]

/** The widths that a policy which looks back over these spans counts in, each once, the narrowest first. */
export const widthsFor = (withins: ReadonlyArray<number>): ReadonlyArray<number> =>
  WIDTHS.filter((width) => withins.some((within) => widthFor(within) === width))

const isWithin = ({ index, width }: Bucket, within: number, now: StorageMillis): boolean => {
  const start = index * width
  return start <= now && (start > now - within || start + width > now)
}

const isKept = (bucket: Bucket, now: StorageMillis): boolean => isWithin(bucket, MOST_BUCKETS * bucket.width, now)

/** The window with a report's counts added, and without buckets that have become too old. */
export const addCounts = (
  window: ReadonlyArray<Bucket>,
  counts: ReadonlyArray<AgedCounts>,
  withins: ReadonlyArray<number>,
  now: StorageMillis
): ReadonlyArray<Bucket> => {
  const kept = window.filter((bucket) => isKept(bucket, now))
  return widthsFor(withins).reduce<ReadonlyArray<Bucket>>(
    (added, width) => counts.reduce(withCounts(width, now), added),
    kept
  )
}

const withCounts =
  (width: number, now: StorageMillis) =>
  (window: ReadonlyArray<Bucket>, { age, ...counted }: AgedCounts): ReadonlyArray<Bucket> => {
    // An age below zero comes from a clock that was set back: no call ends in the future.
    const index = Math.floor((now - Math.max(0, age)) / width)
    const old = window.find((bucket) => bucket.width === width && bucket.index === index)
    const bucket = { ...add(old ?? noCounts, counted), width, index }
    return isKept(bucket, now) ? [...window.filter((other) => other !== old), bucket] : window
  }

/** The window's counts over each of a policy's spans, in their order. */
export const totals = (
  window: ReadonlyArray<Bucket>,
  withins: ReadonlyArray<number>,
  now: StorageMillis
): ReadonlyArray<Counts> =>
  withins.map((within) => {
    const width = widthFor(within)
    return window.filter((bucket) => bucket.width === width && isWithin(bucket, within, now)).reduce(add, noCounts)
  })
