/** The alerts of `prometheus/effect-breaker.rules.yml`. Each is for a fleet, by `job`, or for one instance of it. */
import { metric } from "./names.ts"

export interface Alert {
  readonly name: string
  readonly expr: string
  /** How long it has to be so. */
  readonly for: string
  readonly severity: "critical" | "warning" | "info"
  readonly summary: string
  /** The text of the alert: its meaning, and the next step of the person on call. */
  readonly description: string
}

const inState = (state: string) => `${metric.state}{state="${state}"}`

export const alerts: ReadonlyArray<Alert> = [
  {
    name: "CircuitBreakerOpen",
    expr: `max by (job, circuit) (${inState("open")}) > 0`,
    for: "1m",
    severity: "warning",
    summary: "Circuit {{ $labels.circuit }} of {{ $labels.job }} is open",
    description:
      "Calls are refused because the dependency fails. Look at the dependency first: the circuit closes by itself when probes succeed."
  },
  {
    name: "CircuitBreakerIsolated",
    expr: `(${inState("open")} > 0) and on (job, circuit) (avg by (job, circuit) (${inState("open")} > bool 0) < 0.5)`,
    for: "5m",
    severity: "info",
    summary: "Circuit {{ $labels.circuit }} is open on {{ $labels.instance }} and not on most others",
    description:
      "Only this instance refuses calls. Look at its network and its machine, and at whether it reaches the storage."
  },
  {
    name: "CircuitBreakerFlapping",
    expr:
      `max by (job, circuit) (sum by (job, instance, circuit) (increase(${metric.transitions}{to="open"}[30m]))) > 4`,
    for: "0m",
    severity: "warning",
    summary: "Circuit {{ $labels.circuit }} of {{ $labels.job }} opens again and again",
    description: "Probes succeed and calls fail. A ramp (halfOpen.ramp), more probes or a longer openFor may help."
  },
  {
    name: "CircuitBreakerForcedOpen",
    expr: `max by (job, circuit) (${inState("forced_open")}) > 0`,
    for: "1h",
    severity: "warning",
    summary: "Circuit {{ $labels.circuit }} of {{ $labels.job }} has been forced open for an hour",
    description: "An operator's override refuses every call. Clear it if it is no longer meant."
  },
  {
    name: "CircuitBreakerDisabled",
    expr: `max by (job, circuit) (${inState("disabled")}) > 0`,
    for: "1h",
    severity: "warning",
    summary: "Circuit {{ $labels.circuit }} of {{ $labels.job }} has protected nothing for an hour",
    description: "An operator's override admits every call, or CIRCUIT_BREAKER_ENABLED is false."
  },
  {
    name: "CircuitBreakerBulkheadFull",
    expr: `sum by (job, circuit) (rate(${metric.rejections}{reason="bulkhead"}[5m])) > 0`,
    for: "5m",
    severity: "warning",
    summary: "Circuit {{ $labels.circuit }} of {{ $labels.job }} is at its limit of concurrent calls",
    description:
      "Calls are refused because maxConcurrent others are under way: the dependency is slow, or the limit too low."
  },
  {
    name: "CircuitBreakerStorageUnreachable",
    expr: `${metric.fleetReachable} == 0`,
    for: "1m",
    severity: "critical",
    summary: "{{ $labels.instance }} does not reach the storage {{ $labels.backend }}",
    description: "The instance decides without its fleet, on its own evidence. Calls go on."
  },
  {
    name: "CircuitBreakerStorageUnhealthy",
    expr: `${metric.persistenceHealth} == 0`,
    for: "2m",
    severity: "critical",
    summary: "Storage {{ $labels.backend }} does not keep what {{ $labels.instance }} writes",
    description: "A probe cannot be written and read back: the storage is away, full, read-only, or a replica."
  },
  {
    name: "CircuitBreakerStorageSlow",
    expr: `histogram_quantile(0.9, sum by (job, backend, le) (rate(${metric.persistenceDuration}_bucket[15m]))) > 0.25`,
    for: "15m",
    severity: "warning",
    summary: "Probes of storage {{ $labels.backend }} take more than 250 ms",
    description: "Changes are known late, and requests may miss their deadline of a second."
  },
  {
    name: "CircuitBreakerFallback",
    expr: `sum by (job, from, to) (rate(${metric.persistenceFallbacks}[5m])) > 0`,
    for: "5m",
    severity: "warning",
    summary: "{{ $labels.job }} keeps its circuits in {{ $labels.to }} because {{ $labels.from }} does not answer",
    description: "Instances that fell back to a memory or a disk of their own no longer share their circuits."
  },
  {
    name: "CircuitBreakerFleetStale",
    expr: [
      `(${metric.fleetAge} > 60)`,
      `(sum by (job, instance, circuit) (rate(${metric.calls}[5m])) > 0)`
    ].join(" and on (job, instance, circuit) "),
    for: "5m",
    severity: "warning",
    summary: "{{ $labels.instance }} knows circuit {{ $labels.circuit }} as it was a minute ago",
    description: "Calls are made, and the storage is not read: it does not answer, or the event loop is blocked."
  },
  {
    name: "CircuitBreakerReportsLost",
    expr: `sum by (job, circuit) (increase(${metric.reportsLost}[15m])) > 0`,
    for: "0m",
    severity: "warning",
    summary: "Outcomes of circuit {{ $labels.circuit }} of {{ $labels.job }} did not reach its fleet",
    description:
      "Reports were not acknowledged for half the idle time and are given up. The fleet's counts are too low."
  },
  {
    name: "CircuitBreakerPolicyDrift",
    expr: `max by (job, circuit) (${metric.policyDrift}) > 0`,
    for: "30m",
    severity: "warning",
    summary: "Instances of circuit {{ $labels.circuit }} of {{ $labels.job }} have different policies",
    description: "The fleet's last change was made under another policy. Deploy one policy to all instances."
  }
]

/** The file of rules, as YAML. Its texts are in quotes, as JSON has them. */
export const rulesFile = (): string =>
  [
    "# Made by `npm run boards`: change scripts/boards/alerts.ts and run that.",
    "groups:",
    "  - name: effect-breaker",
    "    rules:",
    ...alerts.flatMap(({ description, expr, for: duration, name, severity, summary }) => [
      `      - alert: ${name}`,
      `        expr: ${JSON.stringify(expr)}`,
      `        for: ${duration}`,
      "        labels:",
      `          severity: ${severity}`,
      "        annotations:",
      `          summary: ${JSON.stringify(summary)}`,
      `          description: ${JSON.stringify(description)}`
    ]),
    ""
  ].join("\n")
