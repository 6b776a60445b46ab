/** The series of one circuit, or of a keyed breaker's circuits as one, and what each reads. */
import { REASONS, stateName, TRANSITIONS } from "../../internal/Counts.ts"
import { type Attributes, type Row, table } from "../../internal/MetricTable.ts"
import { type Reading, STATES } from "../../internal/Reading.ts"

/** Which series there are, beside those that every circuit has. */
export interface Shape {
  /** Whether the circuits of a keyed breaker are added up. */
  readonly isSum: boolean
  readonly countsSlow: boolean
  readonly hasLimit: boolean
  readonly hasThrottle: boolean
  readonly hasFleet: boolean
  readonly failureWindows: ReadonlyArray<string>
  readonly slowWindows: ReadonlyArray<string>
}

export interface Series {
  readonly row: Row & { readonly type: "counter" | "gauge" }
  /** Beside the subject of the row. */
  readonly attributes: Attributes
  readonly read: (reading: Reading) => number
}

/** Ten thousand circuits of one shape have one list, because each function in it would cost each circuit its memory. */
const lists = new Map<string, ReadonlyArray<Series>>()

export const seriesOf = (shape: Shape): ReadonlyArray<Series> => {
  const key = JSON.stringify(shape)
  let list = lists.get(key)
  if (list === undefined) lists.set(key, list = listOf(shape))
  return list
}

const listOf = (shape: Shape): ReadonlyArray<Series> => [
  ...STATES.map((state, i) => of(table.state, (reading) => stateValue(reading, i, shape), { state })),
  ...calls,
  ...rejections(shape),
  ...transitions(shape),
  of(table.consecutiveFailures, ({ consecutiveFailures }) => consecutiveFailures),
  of(table.concurrent, ({ concurrent }) => concurrent),
  of(table.retryAfter, ({ retryAfterMillis }) => retryAfterMillis / 1000),
  ...byPolicy(shape),
  of(table.approach, ({ approach }) => approach),
  ...(shape.isSum ? [of(table.circuits, ({ circuits }) => circuits)] : []),
  ...(shape.hasFleet ? fleet : [])
]

const of = (row: Series["row"], read: Series["read"], attributes: Attributes = {}): Series => ({
  row,
  attributes,
  read
})

/** Of a keyed breaker how many circuits are in a state; else 1 for the worst state of all instances. */
const stateValue = ({ states }: Reading, i: number, { isSum }: Shape): number =>
  isSum ? states[i]! : states.findLastIndex((circuits) => circuits > 0) === i ? 1 : 0

const calls: ReadonlyArray<Series> = [
  of(table.calls, ({ counts }) => counts.success, { outcome: "success" }),
  of(table.calls, ({ counts }) => counts.failure - counts.timeout, { outcome: "failure" }),
  of(table.calls, ({ counts }) => counts.timeout, { outcome: "timeout" }),
  of(table.calls, ({ counts }) => counts.ignored, { outcome: "ignored" })
]

const rejections = ({ hasLimit, hasThrottle }: Shape): ReadonlyArray<Series> =>
  REASONS.flatMap((reason, i) =>
    (reason === "bulkhead" && !hasLimit) || (reason === "throttled" && !hasThrottle) ? [] : [
      of(table.rejections, ({ counts }) => counts.rejections[i]!, { reason }),
      of(table.unenforced, ({ counts }) => counts.unenforced[i]!, { reason })
    ]
  )

const transitions = ({ hasFleet }: Shape): ReadonlyArray<Series> =>
  TRANSITIONS.flatMap(({ from, openedBy, to }, i) => {
    if (openedBy === "fleet" && !hasFleet) return []
    const opened: Attributes = openedBy === undefined ? {} : { opened_by: openedBy }
    const attributes = { from: stateName(from), to: stateName(to), ...opened }
    return [of(table.transitions, ({ counts }) => counts.transitions[i]!, attributes)]
  })

const ratio = (row: Series["row"], window: string, part: "failures" | "slow"): Series =>
  of(row, ({ windows }) => {
    const sums = windows.get(window)
    return sums === undefined || sums.calls === 0 ? 0 : sums[part] / sums.calls
  }, { window })

const byPolicy = (
  { countsSlow, failureWindows, hasLimit, hasThrottle, isSum, slowWindows }: Shape
): ReadonlyArray<Series> => [
  ...failureWindows.map((window) => ratio(table.failureRatio, window, "failures")),
  ...slowWindows.map((window) => ratio(table.slowRatio, window, "slow")),
  ...(countsSlow ? [of(table.callsSlow, ({ counts }) => counts.slow)] : []),
  ...(hasThrottle ? [of(table.shed, ({ shed }) => shed)] : []),
  // Each circuit of a keyed breaker has the limit for itself.
  ...(hasLimit && !isSum ? [of(table.concurrentLimit, ({ concurrentLimit }) => concurrentLimit)] : [])
]

const fleet: ReadonlyArray<Series> = [
  of(table.fleetLag, ({ lagMillis }) => lagMillis / 1000),
  of(table.fleetAge, ({ ageMillis }) => ageMillis / 1000),
  of(table.reportsWaiting, ({ waiting }) => waiting),
  of(table.reportsLost, ({ counts }) => counts.lost),
  of(table.policyDrift, ({ hasDrifted }) => hasDrifted ? 1 : 0)
]
