/** Measures one thing of the engine, over a storage that costs next to nothing. */
import { Duration, Effect, Layer, Result, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { setTimeout } from "node:timers/promises"
import { snapshot } from "../src/core/Record.ts"
import { Breaker, Storage, Trip } from "../src/index.ts"
import type { CircuitReport } from "../src/Storage/Storage.ts"
import { makeKeys } from "./cases.ts"
import type { EngineResult } from "./report.ts"

const SECONDS = 5
const [what, count] = [process.argv[2], Number(process.argv[3])]

const policy = { trip: Trip.failureRate({ threshold: 0.5, within: "60 seconds", minimumCalls: 20 }) } as const

let requests = 0
let bytes = 0
let reports = 0

const weigh = (report: CircuitReport): void => {
  reports++
  bytes += JSON.stringify(report).length
}

const view = snapshot(undefined, [60_000], 0, Infinity)
const storage = Layer.succeed(Storage.Storage, {
  backend: "free",
  capabilities: { shared: true, durable: false, pushes: false, history: false, fences: true },
  idleTimeToLive: Duration.hours(1),
  sync: (batch) =>
    Effect.sync(() => {
      requests++
      if (what === "rate") batch.forEach(weigh)
      return batch.map(({ circuit }) => ({ circuit, result: Result.succeed({ reported: "Counted", snapshot: view }) }))
    }),
  change: () => Effect.never,
  probe: () => Effect.never,
  changes: Stream.empty,
  list: Stream.empty,
  history: () => Effect.succeed([])
})

/** Milliseconds of CPU a second, while every circuit is called once a second. */
const cpu = async (storage: Layer.Layer<Storage.Storage>): Promise<number> => {
  const scope = Scope.makeUnsafe()
  const breaker = await Effect.runPromise(
    Breaker.makeKeyed(`cpu-${what}`, { ...policy, capacity: count }).pipe(
      Effect.provide(storage),
      Effect.provideService(Scope.Scope, scope)
    )
  )
  const keys = makeKeys(count)
  const second = async (): Promise<void> => {
    const end = performance.now() + 1000
    for (const key of keys) await Effect.runPromise(breaker.wrap(Effect.void, { key }))
    await setTimeout(Math.max(0, end - performance.now()))
  }
  // The second round is the first in which all of them report.
  await second()
  await second()
  const start = process.cpuUsage()
  for (let i = 0; i < SECONDS; i++) await second()
  const { system, user } = process.cpuUsage(start)
  await Effect.runPromise(Scope.close(scope, Effect.runSyncExit(Effect.void)))
  return (user + system) / 1000 / SECONDS
}

const circuits = async (): Promise<ReadonlyArray<EngineResult>> => {
  const alone = await cpu(Storage.NullStorageLive)
  const inFleet = await cpu(storage)
  return [{ case: `engine-${count}-circuits`, value: Math.max(0, inFleet - alone), unit: "ms of CPU a second" }]
}

/** In the time of a test's clock, which the machine's speed has no part in. */
const rate = Effect.gen(function*() {
  const breaker = yield* Breaker.make("rate", policy)
  const second = Effect.gen(function*() {
    for (let i = 0; i < count; i++) yield* breaker.wrap(Effect.void)
    yield* TestClock.adjust("1 second")
  })
  yield* second
  requests = bytes = reports = 0
  for (let i = 0; i < SECONDS; i++) yield* second
  return [
    { case: `engine-${count}-calls-a-second`, value: requests / SECONDS, unit: "requests a second" },
    { case: `engine-${count}-calls-a-second`, value: bytes / reports, unit: "bytes a report" }
  ]
}).pipe(Effect.scoped, Effect.provide([storage, TestClock.layer()]))

const results = what === "circuits" ? await circuits() : await Effect.runPromise(rate)
process.send!(results, () => process.exit())
