/**
 * Every metric of this library, as data. What exports them, `docs/metrics.md`, the dashboard and the alert rules are made of this
 * table or compared with it by a test.
 *
 * Names follow OpenTelemetry: units are not part of a name, and a counter does not end in `total`. `prometheusName` adds both.
 */
import * as Metric from "effect/Metric"

export interface Row {
  readonly name: string
  readonly type: "counter" | "gauge" | "histogram"
  /** As OpenTelemetry writes units: `s`, `1`, or what is counted in braces. */
  readonly unit: string
  /** Attributes beside `subject`. */
  readonly attributes: ReadonlyArray<string>
  /** The attribute that says what a series is about. */
  readonly subject: "circuit" | "breaker" | "backend" | undefined
  /** Part of the identity of a series, which holds it in memory: keep it short. */
  readonly description: string
  /** When there are such series; always, where it is absent. */
  readonly when?: string
  /** The end of its name for Prometheus, where the rules for counters and seconds do not give it. */
  readonly suffix?: string
}

export const table = {
  state: {
    name: "circuit_breaker.state",
    type: "gauge",
    unit: "1",
    attributes: ["state"],
    subject: "circuit",
    description: "1 for the state of the circuit and 0 for the others; of a keyed breaker the number of circuits"
  },
  calls: {
    name: "circuit_breaker.calls",
    type: "counter",
    unit: "{call}",
    attributes: ["outcome"],
    subject: "circuit",
    description: "Calls that ended, by outcome"
  },
  callsSlow: {
    name: "circuit_breaker.calls.slow",
    type: "counter",
    unit: "{call}",
    attributes: [],
    subject: "circuit",
    description: "Calls that were slow by the policy",
    when: "with a slow-call policy"
  },
  rejections: {
    name: "circuit_breaker.rejections",
    type: "counter",
    unit: "{call}",
    attributes: ["reason"],
    subject: "circuit",
    description: "Calls that were refused and not run"
  },
  unenforced: {
    name: "circuit_breaker.rejections.unenforced",
    type: "counter",
    unit: "{call}",
    attributes: ["reason"],
    subject: "circuit",
    description: "Calls that ran and would have been refused but for metrics-only"
  },
  transitions: {
    name: "circuit_breaker.transitions",
    type: "counter",
    unit: "{transition}",
    attributes: ["from", "to", "opened_by"],
    subject: "circuit",
    description: "Changes of state"
  },
  failureRatio: {
    name: "circuit_breaker.failure.ratio",
    type: "gauge",
    unit: "1",
    attributes: ["window"],
    subject: "circuit",
    description: "Failures per call in the window",
    when: "with a failure rate policy"
  },
  slowRatio: {
    name: "circuit_breaker.slow.ratio",
    type: "gauge",
    unit: "1",
    attributes: ["window"],
    subject: "circuit",
    description: "Slow calls per call in the window",
    when: "with a slow-call policy"
  },
  consecutiveFailures: {
    name: "circuit_breaker.consecutive_failures",
    type: "gauge",
    unit: "{call}",
    attributes: [],
    subject: "circuit",
    description: "Failures since the last success"
  },
  approach: {
    name: "circuit_breaker.approach",
    type: "gauge",
    unit: "1",
    attributes: [],
    subject: "circuit",
    description: "How close the circuit is to opening, from 0 to 1",
    suffix: "_ratio"
  },
  shed: {
    name: "circuit_breaker.shed",
    type: "gauge",
    unit: "1",
    attributes: [],
    subject: "circuit",
    description: "Share of the calls that the circuit sheds",
    when: "with a `throttle`",
    suffix: "_ratio"
  },
  concurrent: {
    name: "circuit_breaker.concurrent",
    type: "gauge",
    unit: "{call}",
    attributes: [],
    subject: "circuit",
    description: "Calls under way"
  },
  concurrentLimit: {
    name: "circuit_breaker.concurrent.limit",
    type: "gauge",
    unit: "{call}",
    attributes: [],
    subject: "circuit",
    description: "The most calls at a time",
    when: "with `maxConcurrent`, for named circuits and the top keys"
  },
  retryAfter: {
    name: "circuit_breaker.retry_after",
    type: "gauge",
    unit: "s",
    attributes: [],
    subject: "circuit",
    description: "Time until a call may get through, 0 if one may now or no time is set"
  },
  failures: {
    name: "circuit_breaker.failures",
    type: "counter",
    unit: "{call}",
    attributes: ["error.type"],
    subject: "circuit",
    description: "Failures and timeouts, by the type of their error",
    when: "with the option `errors`, from the first failure on"
  },
  callDuration: {
    name: "circuit_breaker.call.duration",
    type: "histogram",
    unit: "s",
    attributes: ["outcome"],
    subject: "circuit",
    description: "Duration of calls",
    when: "with the option `durations`"
  },
  stateCode: {
    name: "circuit_breaker.state.code",
    type: "gauge",
    unit: "1",
    attributes: ["previous_state"],
    subject: "circuit",
    description: "0 closed, 1 half-open, 2 open",
    when: "with the option `stateCode`, for named circuits and the top keys"
  },
  circuits: {
    name: "circuit_breaker.circuits",
    type: "gauge",
    unit: "{circuit}",
    attributes: [],
    subject: "breaker",
    description: "Circuits of a keyed breaker",
    when: "of keyed breakers"
  },
  fleetReachable: {
    name: "circuit_breaker.fleet.reachable",
    type: "gauge",
    unit: "1",
    attributes: [],
    subject: "backend",
    description: "1 while the storage of the circuits answers, 0 while this process decides without it",
    when: "on a storage that decides between instances"
  },
  fleetSlowdown: {
    name: "circuit_breaker.fleet.slowdown",
    type: "gauge",
    unit: "1",
    attributes: [],
    subject: "backend",
    description: "How many times more rarely than usual circuits report, because the storage is slow",
    when: "on a storage that decides between instances"
  },
  fleetLag: {
    name: "circuit_breaker.fleet.lag",
    type: "gauge",
    unit: "s",
    attributes: [],
    subject: "circuit",
    description: "How long the fleet's last change took to be known here, 0 if there was none",
    when: "on a storage that decides between instances"
  },
  fleetAge: {
    name: "circuit_breaker.fleet.age",
    type: "gauge",
    unit: "s",
    attributes: [],
    subject: "circuit",
    description: "Age of the view of the fleet, 0 if there is none",
    when: "on a storage that decides between instances"
  },
  reportsWaiting: {
    name: "circuit_breaker.reports.waiting",
    type: "gauge",
    unit: "{call}",
    attributes: [],
    subject: "circuit",
    description: "Outcomes that the storage has not acknowledged yet",
    when: "on a storage that decides between instances"
  },
  reportsLost: {
    name: "circuit_breaker.reports.lost",
    type: "counter",
    unit: "{call}",
    attributes: [],
    subject: "circuit",
    description: "Outcomes that were given up before the storage acknowledged them",
    when: "on a storage that decides between instances"
  },
  policyDrift: {
    name: "circuit_breaker.policy.drift",
    type: "gauge",
    unit: "1",
    attributes: [],
    subject: "circuit",
    description: "1 if the fleet's last change was made under another policy",
    when: "on a storage that decides between instances"
  },
  persistenceHealth: {
    name: "circuit_breaker.persistence.health",
    type: "gauge",
    unit: "1",
    attributes: [],
    subject: "backend",
    description: "1 while circuits can be written to the storage and read back, 0 while they cannot",
    when: "with a monitor of `Storage/Health`"
  },
  persistenceDuration: {
    name: "circuit_breaker.persistence.duration",
    type: "histogram",
    unit: "s",
    attributes: [],
    subject: "backend",
    description: "Duration of writing to the storage of circuits and reading back",
    when: "with a monitor of `Storage/Health`"
  },
  persistenceErrors: {
    name: "circuit_breaker.persistence.errors",
    type: "counter",
    unit: "{probe}",
    attributes: ["reason"],
    subject: "backend",
    description: "Probes that found the storage unhealthy",
    when: "with a monitor of `Storage/Health`, from the first one on"
  },
  persistenceFallbacks: {
    name: "circuit_breaker.persistence.fallbacks",
    type: "counter",
    unit: "{request}",
    attributes: ["from", "to", "reason"],
    subject: undefined,
    description: "Requests that were sent to another storage than the first one",
    when: "with `Storage.fallback`, from the first one on"
  },
  persistenceMirrored: {
    name: "circuit_breaker.persistence.mirrored",
    type: "counter",
    unit: "{change}",
    attributes: ["from", "to"],
    subject: undefined,
    description: "Changes of circuits that were mirrored to another region",
    when: "with `Storage/Regions`, from the first one on"
  },
  persistenceMigration: {
    name: "circuit_breaker.persistence.migration",
    type: "gauge",
    unit: "1",
    attributes: ["migration", "phase"],
    subject: undefined,
    description: "1 for the phase of the migration and 0 for the others",
    when: "with `Storage/Migration`"
  }
} as const satisfies Record<string, Row>

export type Attributes = Readonly<Record<string, string>>

/** The attribute `unit` is what Effect's OTLP exporter takes as the unit, and its Prometheus exporter leaves out. */
const optionsOf = ({ description, unit }: Row, attributes: Attributes) => ({
  description,
  attributes: unit === "1" ? attributes : { ...attributes, unit }
})

type Of<Type extends Row["type"]> = Row & { readonly type: Type }

export const counterOf = (row: Of<"counter">, attributes: Attributes = {}): Metric.Counter<number> =>
  Metric.counter(row.name, { ...optionsOf(row, attributes), incremental: true })

export const gaugeOf = (row: Of<"gauge">, attributes: Attributes = {}): Metric.Gauge<number> =>
  Metric.gauge(row.name, optionsOf(row, attributes))

export const histogramOf = (
  row: Of<"histogram">,
  boundaries: ReadonlyArray<number>,
  attributes: Attributes = {}
): Metric.Histogram<number> => Metric.histogram(row.name, { ...optionsOf(row, attributes), boundaries })

/** The name of a metric of this library for Prometheus: with its unit, and with `_total` for a counter. */
export const prometheusNameOf = ({ name, suffix, type, unit }: Row): string =>
  name.replaceAll(".", "_") + (suffix ?? (unit === "s" ? "_seconds" : "")) + (type === "counter" ? "_total" : "")
