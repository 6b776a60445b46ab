/** The process that measures scrapes: of 10,000 named circuits, and of a keyed breaker with 100,000 circuits. */
import { Context, Effect, Layer, Metric, Scope } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { Breaker, Storage, Trip } from "../src/index.ts"
import * as BreakerMetrics from "../src/observability/BreakerMetrics.ts"
import { makeKeys } from "./cases.ts"
import type { EngineResult } from "./results.ts"
import { median } from "./timing.ts"

const SCRAPES = 7
const NAMED = 10_000
const KEYS = 100_000

const policy = { trip: Trip.failureRate({ threshold: 0.5, within: "60 seconds", minimumCalls: 20 }) } as const

const storage = await Effect.runPromise(Effect.scoped(Layer.build(Storage.MemoryStorageLive)))

const heap = (): number => {
  globalThis.gc!()
  return process.memoryUsage().heapUsed
}

/** Scrapes the breakers that `make` makes, with a registry of metrics of their own. */
const measure = async (
  name: string,
  make: Effect.Effect<unknown, never, Storage.Storage | Scope.Scope>
): Promise<ReadonlyArray<EngineResult>> => {
  const scope = Scope.makeUnsafe()
  const context = Context.add(storage, Scope.Scope, scope).pipe(Context.add(Metric.MetricRegistry, new Map()))
  const run = Effect.runPromiseWith(context)
  await run(make)
  const before = heap()
  await run(Layer.build(BreakerMetrics.layer()))
  const bytes = heap() - before
  const millis: Array<number> = []
  let text = ""
  for (let i = 0; i < SCRAPES; i++) {
    const start = process.cpuUsage()
    text = PrometheusMetrics.formatUnsafe(context, { metricNameMapper: BreakerMetrics.prometheusName })
    const { system, user } = process.cpuUsage(start)
    millis.push((user + system) / 1000)
  }
  await Effect.runPromise(Scope.close(scope, Effect.runSyncExit(Effect.void)))
  const of = `scrape-${name}`
  return [
    { case: of, value: median(millis), unit: "ms of CPU a scrape" },
    { case: of, value: text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length, unit: "series" },
    { case: of, value: text.length, unit: "bytes of text" },
    { case: of, value: Math.max(0, bytes), unit: "bytes of memory" }
  ]
}

const named = Effect.forEach(
  makeKeys(NAMED),
  (name) => Effect.flatMap(Breaker.make(name, policy), (breaker) => breaker.wrap(Effect.void)),
  { discard: true }
)

const keyed = Effect.gen(function*() {
  const breaker = yield* Breaker.makeKeyed("keyed", { ...policy, capacity: KEYS })
  yield* Effect.forEach(makeKeys(KEYS), (key) => breaker.wrap(Effect.void, { key }), { discard: true })
})

const results = [
  ...await measure(`${NAMED}-circuits`, Effect.orDie(named)),
  ...await measure(`${KEYS}-keys`, Effect.orDie(keyed))
]
process.send!(results, () => process.exit())
