/** Metrics as a Prometheus scraper reads them. */
import { Effect, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"
import * as BreakerMetrics from "../../src/observability/BreakerMetrics.ts"
import * as Registry from "../../src/Registry.ts"

/** Runs with breakers and metrics of its own, and with the exporter. */
export const metered =
  (options?: BreakerMetrics.Options) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    self.pipe(Effect.provide(BreakerMetrics.layer(options)), apart)

/** Runs with breakers and metrics of its own. */
export const apart = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() =>
    self.pipe(Effect.provide(Registry.layer), Effect.provideService(Metric.MetricRegistry, new Map()))
  )

/** The text that a scraper gets. */
export const scrape: Effect.Effect<string> = PrometheusMetrics.format({
  metricNameMapper: BreakerMetrics.prometheusName
})

/** Its samples: each series with its value. */
export const samplesIn = (text: string): ReadonlyMap<string, number> =>
  new Map(
    text.split("\n").flatMap((line) => {
      const at = line.lastIndexOf(" ")
      return line === "" || line.startsWith("#") ? [] : [[line.slice(0, at), Number(line.slice(at + 1))] as const]
    })
  )

export const samples: Effect.Effect<ReadonlyMap<string, number>> = Effect.map(scrape, samplesIn)

/** The samples of one metric that are not 0, by their labels. */
export const nonZero = (name: string): Effect.Effect<Record<string, number>> =>
  Effect.map(samples, (all) =>
    Object.fromEntries(
      [...all].flatMap(([series, value]) =>
        series.startsWith(`${name}{`) && value !== 0 ? [[series.slice(name.length), value] as const] : []
      )
    ))
