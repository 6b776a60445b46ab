/** What the exporter of metrics accepts. Compiled, and never run. */
import { Config, type Layer } from "effect"
import { PrometheusMetrics } from "effect/observability"
import * as BreakerMetrics from "../../src/observability/BreakerMetrics.ts"

const metrics: Layer.Layer<never> = BreakerMetrics.layer({
  keyed: { top: 20 },
  durations: true,
  attributes: { service: "shop" }
})
const scraped = PrometheusMetrics.layerHttp({ metricNameMapper: BreakerMetrics.prometheusName })
const state: "circuit_breaker.state" = BreakerMetrics.names.state
// @ts-expect-error there is no way to export a series per key
BreakerMetrics.layer({ keyed: "all" })
// @ts-expect-error a label has text
BreakerMetrics.layer({ attributes: { shard: 1 } })
const configured: Layer.Layer<never, Config.ConfigError> = BreakerMetrics.layerConfig({
  durations: Config.Boolean("METRICS_DURATIONS"),
  errors: Config.Boolean("METRICS_ERRORS")
})
// @ts-expect-error a function does not come from config
BreakerMetrics.layerConfig({ include: Config.Boolean("INCLUDE") })
