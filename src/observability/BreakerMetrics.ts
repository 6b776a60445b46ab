/**
 * Metrics of all breakers of the process, as metrics of Effect: any of its exporters exports them, for Prometheus, OTLP or another.
 *
 * **Details**
 *
 * Almost everything that is exported is a number that a breaker keeps anyway. It is read when it is scraped, so metrics cost a call
 * nothing while nobody scrapes. Only the options `durations` and `errors` measure more. `docs/metrics.md` lists all metrics, and
 * how to use the dashboard and the alert rules that the package brings along.
 *
 * - States are `closed`, `half_open`, `open`, and, before what is beneath them, `forced_open`, `disabled` and `metrics_only`: an
 *   operator's override, enforcement that is off, or a policy that only measures. Exactly one of them is 1.
 * - Two instances of one circuit in a process are one series: counts add up, and the worst state counts.
 * - A breaker whose scope has closed, and a key that was evicted, take their series along.
 *
 * **Gotchas**
 *
 * - Provide it once for a process. A second one on the same `Metric.MetricRegistry` is logged, because the two replace each other's
 *   series.
 * - Add `circuit` to a sum over circuits, or leave out keys, where `keyed` is `{ top: n }`: their calls are in the breaker's, too.
 *
 * **Example** (What a scraper gets)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 * import * as BreakerMetrics from "effect-breaker/observability/BreakerMetrics"
 * import { PrometheusMetrics } from "effect/observability"
 *
 * class Stock extends Breaker.Service<Stock>()("stock", { trip: Trip.consecutiveFailures(1) }) {}
 *
 * const program = Effect.gen(function*() {
 *   yield* Effect.ignore(Effect.fail("out of stock").pipe(Stock.wrap))
 *   const text = yield* PrometheusMetrics.format({ metricNameMapper: BreakerMetrics.prometheusName })
 *   return text.split("\n").find((line) => line.endsWith(" 1"))
 * })
 *
 * const layer = Layer.mergeAll(Stock.layer, BreakerMetrics.layer()).pipe(Layer.provide(Storage.MemoryStorageLive))
 *
 * await Effect.runPromise(Effect.provide(program, layer)) // => `circuit_breaker_state{circuit="stock",state="open"} 1`
 * ```
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import { backgroundSleep } from "../internal/Clock.ts"
import { layerFrom } from "../internal/LayerConfig.ts"
import { logged } from "../internal/Log.ts"
import { messages } from "../internal/Messages.ts"
import { prometheusNameOf, type Row, table } from "../internal/MetricTable.ts"
import { CurrentRegistry } from "../internal/Registered.ts"
import { Exporter } from "./internal/Exporter.ts"
import { type Options, resolve, type Resolved } from "./internal/Options.ts"

export type { Options } from "./internal/Options.ts"

type Names = { readonly [K in keyof typeof table]: (typeof table)[K]["name"] }

/**
 * The names of all metrics, as OTLP exporters show them.
 *
 * @category constants
 * @since 0.1.0
 */
export const names: Names = Object.fromEntries(Object.entries(table).map(([key, { name }]) => [key, name])) as Names

const rows: ReadonlyArray<Row> = Object.values(table)

const prometheusNames = new Map(rows.map((row) => [row.name, prometheusNameOf(row)]))

/**
 * For `metricNameMapper` of Effect's Prometheus exporter: the names of these metrics with `_total` on counters, and with `_seconds`
 * and `_ratio` where Prometheus wants the unit. The dashboard and the alert rules of the package use these names. All others stay as
 * they are.
 *
 * @category constants
 * @since 0.1.0
 */
export const prometheusName = (name: string): string => prometheusNames.get(name) ?? name

/** How often the keys are chosen that have series of their own. */
const CHOOSE_EVERY = "10 seconds"

/** The registries of metrics that a layer exports to. */
const exporting = new WeakMap<Metric.MetricRegistry, number>()

/**
 * Exports all breakers of the process, or of the `Registry` in the context, also those that are made later. Throws a `RangeError` at
 * once for options out of range.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<never> => {
  const resolved = resolve(options)
  return Layer.effectDiscard(exported(resolved))
}

/**
 * The same with options from config. A value out of range is a `ConfigError`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Pick<Options, "durations" | "errors" | "stateCode" | "attributes">>
): Layer.Layer<never, Config.ConfigError> => layerFrom(options, (options) => Effect.sync(() => layer(options)))

const exported = (options: Resolved): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const registry = yield* CurrentRegistry
    yield* claimed(yield* Metric.MetricRegistry)
    const exporter = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const exporter = new Exporter(context, options)
        return { exporter, unfollow: registry.follow(exporter.changed) }
      }),
      ({ exporter, unfollow }) =>
        Effect.sync(() => {
          unfollow()
          exporter.close()
        })
    )
    if (options.top === 0) return
    const chosen = Effect.sync(() => exporter.exporter.chooseTops())
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(backgroundSleep(CHOOSE_EVERY), chosen)), {
      startImmediately: true
    })
  })

/** Says so where another layer exports to the same registry of metrics. */
const claimed = (metrics: Metric.MetricRegistry): Effect.Effect<void, never, Scope.Scope> => {
  const change = (by: 1 | -1) =>
    Effect.sync(() => {
      const others = exporting.get(metrics) ?? 0
      exporting.set(metrics, others + by)
      return others
    })
  return Effect.flatMap(
    Effect.acquireRelease(change(1), () => change(-1)),
    (others) => others === 0 ? Effect.void : logged(messages.exportedTwice, {})
  )
}
