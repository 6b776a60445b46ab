/** The process of one measurement of the engine, on a storage that costs next to nothing. */
import { Effect, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { setTimeout } from "node:timers/promises"
import { Breaker, Storage, Trip } from "../src/index.ts"
import type { CircuitReport } from "../src/Storage/Storage.ts"
import { makeKeys } from "./cases.ts"
import type { EngineResult } from "./results.ts"

const SECONDS = 5
const [what, count] = [process.argv[2], Number(process.argv[3])]

const policy = { trip: Trip.failureRate({ threshold: 0.5, within: "60 seconds", minimumCalls: 20 }) } as const

let requests = 0
let bytes = 0
let reports = 0

const countReport = (report: CircuitReport): void => {
  reports++
  bytes += JSON.stringify(report).length
}

/** Accepts every report, and answers all reports of a request with one snapshot of an untouched circuit. */
const free = Layer.effect(
  Storage.Storage,
  Effect.map(Storage.Storage, (none): Storage.Storage => ({
    ...none,
    backend: "free",
    capabilities: { ...none.capabilities, shared: true, fences: true },
    sync: (reports) =>
      Effect.suspend(() => {
        requests++
        if (what === "rate") reports.forEach(countReport)
        return Effect.map(
          none.sync(reports.slice(0, 1)),
          ([first]) => reports.map(({ circuit }) => ({ circuit, result: first!.result }))
        )
      })
  }))
).pipe(Layer.provide(Storage.NullStorageLive))

/** Milliseconds of CPU per second, with one call per circuit and second. */
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
  // All circuits report for the first time in the second second.
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
  const inFleet = await cpu(free)
  return [{ case: `engine-${count}-circuits`, value: Math.max(0, inFleet - alone), unit: "ms of CPU a second" }]
}

/** Runs on a `TestClock`, so the result does not depend on the machine. */
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
}).pipe(Effect.scoped, Effect.provide([free, TestClock.layer()]))

const results = what === "circuits" ? await circuits() : await Effect.runPromise(rate)
process.send!(results, () => process.exit())
