/** Prometheus's own tool on the files of the package: whether it accepts them, and when each alert fires. */
import { assert, beforeAll, describe, inject, it } from "@effect/vitest"
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { alerts } from "../../scripts/boards/alerts.ts"
import { rows } from "../../scripts/boards/panels.ts"
import { install, run } from "../support/servers/processes.ts"

const RULES = "effect-breaker.rules.yml"

/** Series of a circuit, by the minute, under which an alert fires for these labels after this time, and under which it does not. */
interface Story {
  readonly fires: Readonly<Record<string, string>>
  readonly at: string
  readonly labels: Readonly<Record<string, string>>
  readonly silent: Readonly<Record<string, string>>
}

const on = (instance: string, circuit = "payments") => `job="shop",instance="${instance}",circuit="${circuit}"`
const state = (name: string, instance = "1") => `circuit_breaker_state{${on(instance)},state="${name}"}`
const fleet = { job: "shop", circuit: "payments" }
const one = { ...fleet, instance: "1" }

const stories: Record<string, Story> = {
  CircuitBreakerOpen: {
    fires: { [state("open")]: "0x5 1x20", [state("open", "2")]: "0x25" },
    at: "8m",
    labels: fleet,
    silent: { [state("half_open")]: "1x25", [state("open")]: "0x25" }
  },
  CircuitBreakerIsolated: {
    fires: { [state("open")]: "1x20", [state("open", "2")]: "0x20", [state("open", "3")]: "0x20" },
    at: "6m",
    labels: { ...one, state: "open" },
    silent: { [state("open")]: "1x20", [state("open", "2")]: "1x20", [state("open", "3")]: "0x20" }
  },
  CircuitBreakerFlapping: {
    fires: { [`circuit_breaker_transitions_total{${on("1")},from="closed",to="open",opened_by="instance"}`]: "0+1x30" },
    at: "30m",
    labels: fleet,
    silent: { [`circuit_breaker_transitions_total{${on("1")},from="closed",to="open",opened_by="fleet"}`]: "0x15 1x15" }
  },
  CircuitBreakerForcedOpen: {
    fires: { [state("forced_open")]: "1x90" },
    at: "61m",
    labels: fleet,
    silent: { [state("forced_open")]: "1x30 0x60" }
  },
  CircuitBreakerDisabled: {
    fires: { [state("disabled")]: "1x90" },
    at: "61m",
    labels: fleet,
    silent: { [state("disabled")]: "1x30 0x60" }
  },
  CircuitBreakerBulkheadFull: {
    fires: { [`circuit_breaker_rejections_total{${on("1")},reason="bulkhead"}`]: "0+5x30" },
    at: "15m",
    labels: fleet,
    silent: { [`circuit_breaker_rejections_total{${on("1")},reason="open"}`]: "0+5x30" }
  },
  CircuitBreakerStorageUnreachable: {
    fires: { [`circuit_breaker_fleet_reachable{job="shop",instance="1",backend="redis"}`]: "1x3 0x10" },
    at: "6m",
    labels: { job: "shop", instance: "1", backend: "redis" },
    silent: { [`circuit_breaker_fleet_reachable{job="shop",instance="1",backend="redis"}`]: "1x13" }
  },
  CircuitBreakerStorageUnhealthy: {
    fires: { [`circuit_breaker_persistence_health{job="shop",instance="1",backend="redis"}`]: "1x3 0x10" },
    at: "8m",
    labels: { job: "shop", instance: "1", backend: "redis" },
    silent: { [`circuit_breaker_persistence_health{job="shop",instance="1",backend="redis"}`]: "1x13" }
  },
  CircuitBreakerStorageSlow: {
    fires: {
      [`circuit_breaker_persistence_duration_seconds_bucket{job="shop",backend="redis",le="0.256"}`]: "0x60",
      [`circuit_breaker_persistence_duration_seconds_bucket{job="shop",backend="redis",le="0.512"}`]: "0+2x60",
      [`circuit_breaker_persistence_duration_seconds_bucket{job="shop",backend="redis",le="+Inf"}`]: "0+2x60"
    },
    at: "40m",
    labels: { job: "shop", backend: "redis" },
    silent: {
      [`circuit_breaker_persistence_duration_seconds_bucket{job="shop",backend="redis",le="0.002"}`]: "0+2x60",
      [`circuit_breaker_persistence_duration_seconds_bucket{job="shop",backend="redis",le="+Inf"}`]: "0+2x60"
    }
  },
  CircuitBreakerFallback: {
    fires: {
      [`circuit_breaker_persistence_fallbacks_total{job="shop",from="redis",to="sqlite",reason="Skipped"}`]: "0+9x30"
    },
    at: "15m",
    labels: { job: "shop", from: "redis", to: "sqlite" },
    silent: {
      [`circuit_breaker_persistence_fallbacks_total{job="shop",from="redis",to="sqlite",reason="Skipped"}`]: "9x30"
    }
  },
  CircuitBreakerFleetStale: {
    fires: {
      [`circuit_breaker_fleet_age_seconds{${on("1")}}`]: "0+60x30",
      [`circuit_breaker_calls_total{${on("1")},outcome="success"}`]: "0+60x30"
    },
    at: "15m",
    labels: one,
    silent: {
      [`circuit_breaker_fleet_age_seconds{${on("1")}}`]: "0+60x30",
      [`circuit_breaker_calls_total{${on("1")},outcome="success"}`]: "60x30"
    }
  },
  CircuitBreakerReportsLost: {
    fires: { [`circuit_breaker_reports_lost_total{${on("1")}}`]: "0x5 7x10" },
    at: "10m",
    labels: fleet,
    silent: { [`circuit_breaker_reports_lost_total{${on("1")}}`]: "7x15" }
  },
  CircuitBreakerPolicyDrift: {
    fires: { [`circuit_breaker_policy_drift{${on("1")}}`]: "1x60" },
    at: "31m",
    labels: fleet,
    silent: { [`circuit_breaker_policy_drift{${on("1")}}`]: "1x10 0x50" }
  }
}

const inputs = (series: Readonly<Record<string, string>>) =>
  Object.entries(series).map(([series, values]) => ({ series, values }))

/** YAML, because JSON is. */
const testsOf = () =>
  JSON.stringify({
    rule_files: [RULES],
    evaluation_interval: "1m",
    tests: alerts.flatMap(({ description, name, severity, summary }) => {
      const { at, fires, labels, silent } = stories[name]!
      const check = (series: Readonly<Record<string, string>>, expected: ReadonlyArray<object>) => ({
        interval: "1m",
        input_series: inputs(series),
        alert_rule_test: [{ eval_time: at, alertname: name, exp_alerts: expected }]
      })
      const rendered = (text: string) =>
        text.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, label) => labels[label] ?? "")
      const annotations = { summary: rendered(summary), description: rendered(description) }
      return [
        check(fires, [{ exp_labels: { severity, ...labels }, exp_annotations: annotations }]),
        check(silent, [])
      ]
    })
  })

describe("promtool", () => {
  let directory: string
  beforeAll(async () => {
    await install(["promtool"], ["prometheus"])
    directory = await mkdtemp(join(tmpdir(), "effect-breaker-rules-"))
    await copyFile(join(inject("packed"), "prometheus", RULES), join(directory, RULES))
    return () => rm(directory, { recursive: true, force: true })
  })
  const promtool = (...args: ReadonlyArray<string>) => run("promtool", [...args], { cwd: directory })

  it("accepts the alert rules of the package", async () => {
    const { stdout } = await promtool("check", "rules", RULES)
    assert.include(stdout, `SUCCESS: ${alerts.length} rules found`)
  })

  it("each alert fires under what it is for, and not under what is like it", async () => {
    assert.sameMembers(Object.keys(stories), alerts.map(({ name }) => name))
    await writeFile(join(directory, "tests.yml"), testsOf())
    const { stdout } = await promtool("test", "rules", "tests.yml")
    assert.include(stdout, "SUCCESS")
  })

  it("notices an alert that does not fire", async () => {
    await writeFile(join(directory, "wrong.yml"), testsOf().replaceAll("severity\":\"info", "severity\":\"none"))
    const failed = await promtool("test", "rules", "wrong.yml").then(() => "", String)
    assert.include(failed, "promtool test rules wrong.yml")
  })

  it("accepts every query of the dashboard", async () => {
    const queries = rows.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries))
    const rules = queries.map(({ expr }, i) => ({
      record: `query${i}`,
      expr: expr.replaceAll("$__rate_interval", "5m").replaceAll(/\$\w+/g, ".*")
    }))
    await writeFile(join(directory, "queries.yml"), JSON.stringify({ groups: [{ name: "queries", rules }] }))
    const { stdout } = await promtool("check", "rules", "queries.yml")
    assert.include(stdout, `SUCCESS: ${rules.length} rules found`)
  })
})
