/**
 * The shared window of a circuit: counts in buckets that are cut by the storage's clock.
 *
 * The width of a bucket follows from a policy's longest `within` alone, so instances with other thresholds share
 * counts. Each bucket names its width: instances with different widths count side by side in one window, and see only
 * their own.
 *
 * A call never counts once it is `within` old, and leaves at most one bucket early. Where `within` is shorter than a
 * bucket (because another rule of the policy looks much further back), the current bucket's counts are taken instead.
 */
import { add, type AgedCounts, type Counts, noCounts } from "./Delta.ts"
import type { StorageMillis } from "./Time.ts"

/** The calls that ended at or after `index * width` and before `(index + 1) * width`, by the storage's clock. */
export interface Bucket extends Counts {
  readonly width: number
  readonly index: number
}

const MOST_BUCKETS = 60
const WIDTHS = [1000, 10_000, 60_000, 600_000] as const

/** The bucket width for a policy that looks back over these spans; `undefined` if there are none. */
export const widthFor = (withins: ReadonlyArray<number>): number | undefined => {
  if (withins.length === 0) return undefined
  const longest = Math.max(...withins)
  // No policy looks back further than ten hours, which is sixty buckets of the widest kind.
  return WIDTHS.find((width) => width * MOST_BUCKETS >= longest) ?? WIDTHS[3]
}

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
  const width = widthFor(withins)
  if (width === undefined) return kept
  return counts.reduce((window, { age, ...counted }) => {
    // An age below zero comes from a clock that was set back: no call ends in the future.
    const index = Math.floor((now - Math.max(0, age)) / width)
    const old = window.find((bucket) => bucket.width === width && bucket.index === index)
    const bucket = { ...add(old ?? noCounts, counted), width, index }
    return isKept(bucket, now) ? [...window.filter((other) => other !== old), bucket] : window
  }, kept)
}

/** The window's counts over each of a policy's spans, in their order. */
export const totals = (
  window: ReadonlyArray<Bucket>,
  withins: ReadonlyArray<number>,
  now: StorageMillis
): ReadonlyArray<Counts> => {
  const width = widthFor(withins)
  const buckets = window.filter((bucket) => bucket.width === width)
  return withins.map((within) => buckets.filter((bucket) => isWithin(bucket, within, now)).reduce(add, noCounts))
}
