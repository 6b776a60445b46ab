/** The panels of `grafana/effect-breaker.json`, in rows from top to bottom. A row is 24 units wide. */
import { metric } from "./names.ts"

export interface Panel {
  readonly title: string
  readonly kind: "stat" | "table" | "timeseries" | "state-timeline"
  /** The text of the panel: its content, and how to read it. */
  readonly description: string
  readonly width: number
  readonly unit?: "short" | "percentunit" | "s" | "reqps"
  readonly queries: ReadonlyArray<{ readonly expr: string; readonly legend: string }>
}

export interface PanelRow {
  readonly title: string
  readonly height: number
  readonly panels: ReadonlyArray<Panel>
}

/** The variables of the dashboard. */
export const VARIABLES = ["job", "instance", "circuit"] as const

const instances = `job=~"$job",instance=~"$instance"`

/** The series of a metric of circuits that the variables choose. */
const of = (name: string, labels = ""): string =>
  `${name}{${instances},circuit=~"$circuit"${labels === "" ? "" : `,${labels}`}}`

/** The series of a metric that is not of one circuit. */
const other = (name: string): string => `${name}{${instances}}`

const rate = (series: string): string => `rate(${series}[$__rate_interval])`

/** A number for each state, the worst highest. 0 is closed. */
export const stateCodes = { metrics_only: 1, disabled: 2, half_open: 3, open: 4, forced_open: 5 } as const

const stateCode = Object.entries(stateCodes)
  .map(([state, code]) => `${code} * (${of(metric.state, `state="${state}"`)} > bool 0)`)
  .join(" or ")

const notClosed = `(sum by (job, instance, circuit) (${of(metric.state, `state!="closed"`)}) > 0)`

const whereNotClosed = (expr: string): string => `(${expr}) and on (job, instance, circuit) ${notClosed}`

const quantiles = (name: string, labels: string, by: string) =>
  [0.5, 0.9, 0.99].map((q) => ({
    expr: `histogram_quantile(${q}, sum by (${by}, le) (${rate(`${name}_bucket${labels}`)}))`,
    legend: `{{${by}}} p${q * 100}`
  }))

export const rows: ReadonlyArray<PanelRow> = [
  {
    title: "Now",
    height: 8,
    panels: [
      {
        title: "Circuits that are not closed",
        kind: "stat",
        description: "In the worst state of all instances. Of a keyed breaker each circuit counts.",
        width: 4,
        queries: [{
          expr: `sum(max by (job, circuit, state) (${of(metric.state, `state!="closed"`)}))`,
          legend: "not closed"
        }]
      },
      {
        title: "What is not closed, and why",
        kind: "table",
        description:
          "By instance: the state, how long until a call may get through, and the evidence. opened_by says who opened a circuit in the last hour: this instance on its own evidence, or the fleet.",
        width: 20,
        queries: [
          { expr: `${of(metric.state, `state!="closed"`)} > 0`, legend: "state" },
          { expr: whereNotClosed(of(metric.retryAfter)), legend: "retry after" },
          { expr: whereNotClosed(`max by (job, instance, circuit) (${of(metric.failureRatio)})`), legend: "failures" },
          { expr: whereNotClosed(`max by (job, instance, circuit) (${of(metric.slowRatio)})`), legend: "slow" },
          {
            expr: whereNotClosed(`increase(${of(metric.transitions, `to="open"`)}[1h]) > 0`),
            legend: "opened by"
          }
        ]
      }
    ]
  },
  {
    title: "States",
    height: 8,
    panels: [
      {
        title: "By fleet",
        kind: "state-timeline",
        description: "The worst state of a circuit on any instance.",
        width: 12,
        queries: [{ expr: `max by (job, circuit) (${stateCode})`, legend: "{{circuit}}" }]
      },
      {
        title: "By instance",
        kind: "state-timeline",
        description: "An instance that differs from the others is isolated, or does not reach the storage.",
        width: 12,
        queries: [{ expr: `max by (job, instance, circuit) (${stateCode})`, legend: "{{circuit}} {{instance}}" }]
      },
      {
        title: "Changes of state",
        kind: "timeseries",
        description: "In each interval, by who opened the circuit.",
        width: 12,
        queries: [{
          expr: `sum by (circuit, from, to, opened_by) (increase(${of(metric.transitions)}[$__rate_interval])) > 0`,
          legend: "{{circuit}} {{from}} to {{to}} {{opened_by}}"
        }]
      },
      {
        title: "Circuits of keyed breakers",
        kind: "timeseries",
        description: "How many keys have a circuit.",
        width: 12,
        queries: [{ expr: `sum by (breaker) (${other(metric.circuits)})`, legend: "{{breaker}}" }]
      }
    ]
  },
  {
    title: "Calls",
    height: 8,
    panels: [
      {
        title: "Calls by outcome",
        kind: "timeseries",
        description: "Calls that were run.",
        width: 12,
        unit: "reqps",
        queries: [{
          expr: `sum by (circuit, outcome) (${rate(of(metric.calls))})`,
          legend: "{{circuit}} {{outcome}}"
        }]
      },
      {
        title: "Rejections by reason",
        kind: "timeseries",
        description: "Calls that were refused, and those that metrics-only let through.",
        width: 12,
        unit: "reqps",
        queries: [
          { expr: `sum by (circuit, reason) (${rate(of(metric.rejections))})`, legend: "{{circuit}} {{reason}}" },
          {
            expr: `sum by (circuit, reason) (${rate(of(metric.unenforced))})`,
            legend: "{{circuit}} {{reason}}, not enforced"
          }
        ]
      },
      {
        title: "Failure ratio",
        kind: "timeseries",
        description:
          "As the trip policy sees it, per instance, and of all calls of the fleet that succeeded or failed.",
        width: 12,
        unit: "percentunit",
        queries: [
          { expr: of(metric.failureRatio), legend: "{{circuit}} {{instance}} {{window}}" },
          {
            expr: [
              `sum by (circuit) (${rate(of(metric.calls, `outcome=~"failure|timeout"`))})`,
              `sum by (circuit) (${rate(of(metric.calls, `outcome!="ignored"`))})`
            ].join(" / "),
            legend: "{{circuit}}, fleet"
          }
        ]
      },
      {
        title: "How close to opening, and shed calls",
        kind: "timeseries",
        description:
          "Of the threshold that is closest, and the share of the calls that is shed, by each instance's own view.",
        width: 12,
        unit: "percentunit",
        queries: [
          { expr: of(metric.approach), legend: "{{circuit}} {{instance}}" },
          { expr: of(metric.shed), legend: "{{circuit}} {{instance}} sheds" }
        ]
      },
      {
        title: "Failures in a row, slow calls",
        kind: "timeseries",
        description: "The evidence of the other trip policies.",
        width: 12,
        queries: [
          { expr: of(metric.consecutiveFailures), legend: "{{circuit}} {{instance}} in a row" },
          { expr: of(metric.slowRatio), legend: "{{circuit}} {{instance}} slow {{window}}" },
          { expr: `sum by (circuit) (${rate(of(metric.callsSlow))})`, legend: "{{circuit}} slow per second" }
        ]
      },
      {
        title: "Concurrent calls",
        kind: "timeseries",
        description: "Calls under way, and the limit where there is one.",
        width: 12,
        queries: [
          { expr: of(metric.concurrent), legend: "{{circuit}} {{instance}}" },
          { expr: of(metric.concurrentLimit), legend: "{{circuit}} {{instance}} limit" }
        ]
      },
      {
        title: "Failures by type",
        kind: "timeseries",
        description: "With the option errors.",
        width: 12,
        unit: "reqps",
        queries: [{
          expr: `sum by (circuit, error_type) (${rate(of(metric.failures))})`,
          legend: "{{circuit}} {{error_type}}"
        }]
      },
      {
        title: "Duration of calls",
        kind: "timeseries",
        description: "With the option durations.",
        width: 24,
        unit: "s",
        queries: quantiles(metric.callDuration, `{${instances},circuit=~"$circuit"}`, "circuit")
      }
    ]
  },
  {
    title: "Fleet",
    height: 8,
    panels: [
      {
        title: "Lag and age",
        kind: "timeseries",
        description: "How long the last change took to be known to each instance, and how old its view is.",
        width: 12,
        unit: "s",
        queries: [
          { expr: of(metric.fleetLag), legend: "{{circuit}} {{instance}} lag" },
          { expr: of(metric.fleetAge), legend: "{{circuit}} {{instance}} age" }
        ]
      },
      {
        title: "Storage reachable",
        kind: "timeseries",
        description: "0 while an instance decides without its fleet.",
        width: 6,
        queries: [{ expr: other(metric.fleetReachable), legend: "{{instance}} {{backend}}" }]
      },
      {
        title: "Policies that differ",
        kind: "timeseries",
        description: "1 where the fleet's last change was made under another policy: a deploy, or drift.",
        width: 6,
        queries: [{ expr: of(metric.policyDrift), legend: "{{circuit}} {{instance}}" }]
      },
      {
        title: "Slowed down",
        kind: "timeseries",
        description: "How many times more rarely circuits report than `syncEvery` says, because the storage is slow.",
        width: 6,
        queries: [{ expr: other(metric.fleetSlowdown), legend: "{{instance}} {{backend}}" }]
      },
      {
        title: "Outcomes that wait, or were lost",
        kind: "timeseries",
        description: "Not acknowledged by the storage, per instance.",
        width: 18,
        queries: [
          { expr: of(metric.reportsWaiting), legend: "{{circuit}} {{instance}} waiting" },
          { expr: `increase(${of(metric.reportsLost)}[$__rate_interval])`, legend: "{{circuit}} {{instance}} lost" }
        ]
      }
    ]
  },
  {
    title: "Storage",
    height: 8,
    panels: [
      {
        title: "Health",
        kind: "timeseries",
        description: "1 while what a probe writes can be read back; by a monitor of Storage/Health.",
        width: 8,
        queries: [
          { expr: other(metric.persistenceHealth), legend: "{{instance}} {{backend}}" },
          {
            expr: `sum by (backend, reason) (increase(${other(metric.persistenceErrors)}[$__rate_interval]))`,
            legend: "{{backend}} {{reason}}"
          }
        ]
      },
      {
        title: "Duration of probes",
        kind: "timeseries",
        description: "Of those that succeeded.",
        width: 8,
        unit: "s",
        queries: quantiles(metric.persistenceDuration, `{${instances}}`, "backend")
      },
      {
        title: "Fallbacks, mirrored changes, migrations",
        kind: "timeseries",
        description: "Between storages that are made of storages.",
        width: 8,
        queries: [
          {
            expr: `sum by (from, to, reason) (${rate(other(metric.persistenceFallbacks))})`,
            legend: "{{from}} to {{to}}: {{reason}}"
          },
          {
            expr: `sum by (from, to) (${rate(other(metric.persistenceMirrored))})`,
            legend: "{{from}} mirrored to {{to}}"
          },
          {
            expr: `count by (migration, phase) (${other(metric.persistenceMigration)} > 0)`,
            legend: "{{migration}}: instances in {{phase}}"
          }
        ]
      }
    ]
  }
]
