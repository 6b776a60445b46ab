/** The series of one circuit, or of a keyed breaker's circuits as one, and what each reads. */
import type * as Metric from "effect/Metric"
import { REASONS, stateName, TRANSITIONS } from "../../internal/Counts.ts"
import { type Attributes, counterOf, gaugeOf, type Row, table } from "../../internal/MetricTable.ts"
import { type Reading, STATES } from "../../internal/Reading.ts"

/** Which series there are, beside those that every circuit has. */
export interface Shape {
  /** The name of the keyed breaker whose circuits are added up. */
  readonly breaker: string | undefined
  readonly countsSlow: boolean
  readonly hasLimit: boolean
  readonly hasFleet: boolean
  readonly knowsApproach: boolean
  readonly failureWindows: ReadonlySet<string>
  readonly slowWindows: ReadonlySet<string>
}

export interface Series {
  // The state of a counter or of a gauge, which `read` returns.
  readonly metric: Metric.Metric<number, any>
  readonly read: (reading: Reading) => unknown
}

/** `subject`: the attributes that all of the series have. */
export const seriesOf = (subject: Attributes, shape: Shape, shared: Attributes): ReadonlyArray<Series> => {
  const counter = (row: CounterRow, attributes: Attributes, count: (reading: Reading) => number): Series => ({
    metric: counterOf(row, { ...subject, ...attributes, ...shared }),
    read: (reading) => ({ count: count(reading), incremental: true })
  })
  const gauge = (row: GaugeRow, attributes: Attributes, value: (reading: Reading) => number): Series => ({
    metric: gaugeOf(row, { ...subject, ...attributes, ...shared }),
    read: (reading) => ({ value: value(reading) })
  })
  return [
    ...STATES.map((state, i) => gauge(table.state, { state }, (reading) => stateValue(reading, i, shape))),
    ...calls.map(([outcome, count]) => counter(table.calls, { outcome }, count)),
    ...rejections(shape).flatMap(([reason, i]) => [
      counter(table.rejections, { reason }, ({ counts }) => counts.rejections[i]!),
      counter(table.unenforced, { reason }, ({ counts }) => counts.unenforced[i]!)
    ]),
    ...transitions(shape).map(([attributes, i]) =>
      counter(table.transitions, attributes, ({ counts }) => counts.transitions[i]!)
    ),
    gauge(table.consecutiveFailures, {}, ({ consecutiveFailures }) => consecutiveFailures),
    gauge(table.concurrent, {}, ({ concurrent }) => concurrent),
    gauge(table.retryAfter, {}, ({ retryAfterMillis }) => retryAfterMillis / 1000),
    ...byPolicy(shape, counter, gauge),
    ...(shape.breaker === undefined ? [] : [{
      metric: gaugeOf(table.circuits, { breaker: shape.breaker, ...shared }),
      read: ({ circuits }: Reading) => ({ value: circuits })
    }]),
    ...(shape.hasFleet ? ofFleet(counter, gauge) : [])
  ]
}

type CounterRow = Row & { readonly type: "counter" }
type GaugeRow = Row & { readonly type: "gauge" }
type Make<R> = (row: R, attributes: Attributes, read: (reading: Reading) => number) => Series

/** Of a keyed breaker how many circuits are in a state; else 1 for the worst state of all instances. */
const stateValue = ({ states }: Reading, i: number, { breaker }: Shape): number =>
  breaker !== undefined ? states[i]! : states.findLastIndex((circuits) => circuits > 0) === i ? 1 : 0

const calls: ReadonlyArray<readonly [outcome: string, count: (reading: Reading) => number]> = [
  ["success", ({ counts }) => counts.success],
  ["failure", ({ counts }) => counts.failure - counts.timeout],
  ["timeout", ({ counts }) => counts.timeout],
  ["ignored", ({ counts }) => counts.ignored]
]

const rejections = ({ hasLimit }: Shape) =>
  REASONS.map((reason, i) => [reason, i] as const).filter(([reason]) => reason !== "bulkhead" || hasLimit)

const transitions = ({ hasFleet }: Shape) =>
  TRANSITIONS.map(({ from, openedBy, to }, i) => {
    const opened: Attributes = openedBy === undefined ? {} : { opened_by: openedBy }
    const attributes: Attributes = { from: stateName(from), to: stateName(to), ...opened }
    return [attributes, i] as const
  }).filter(([{ opened_by: openedBy }]) => openedBy !== "fleet" || hasFleet)

const byPolicy = (
  { breaker, countsSlow, failureWindows, hasLimit, knowsApproach, slowWindows }: Shape,
  counter: Make<CounterRow>,
  gauge: Make<GaugeRow>
): ReadonlyArray<Series> => {
  const ratio = (row: GaugeRow, window: string, of: "failures" | "slow") =>
    gauge(row, { window }, ({ windows }) => {
      const sums = windows.get(window)
      return sums === undefined || sums.calls === 0 ? 0 : sums[of] / sums.calls
    })
  return [
    ...[...failureWindows].map((window) => ratio(table.failureRatio, window, "failures")),
    ...[...slowWindows].map((window) => ratio(table.slowRatio, window, "slow")),
    ...(countsSlow ? [counter(table.callsSlow, {}, ({ counts }) => counts.slow)] : []),
    // Each circuit of a keyed breaker has the limit for itself.
    ...(hasLimit && breaker === undefined
      ? [gauge(table.concurrentLimit, {}, ({ concurrentLimit }) => concurrentLimit)]
      : []),
    ...(knowsApproach ? [gauge(table.approach, {}, ({ approach }) => approach)] : [])
  ]
}

const ofFleet = (counter: Make<CounterRow>, gauge: Make<GaugeRow>): ReadonlyArray<Series> => [
  gauge(table.fleetLag, {}, ({ lagMillis }) => lagMillis / 1000),
  gauge(table.fleetAge, {}, ({ ageMillis }) => ageMillis / 1000),
  gauge(table.reportsWaiting, {}, ({ waiting }) => waiting),
  counter(table.reportsLost, {}, ({ counts }) => counts.lost),
  gauge(table.policyDrift, {}, ({ hasDrifted }) => hasDrifted ? 1 : 0)
]
