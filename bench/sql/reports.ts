/**
 * `npm run bench:sql:reports`: the processor time of Postgres for a report, by what it holds, and for a poll. 20 instances
 * report on 50 circuits each, one batch after the other, as processes do once an interval. It starts its own server, and needs
 * Linux to tell its time.
 */
import { Context, Effect, Layer, Redacted } from "effect"
import { type Delta, noDelta, noLifetimeCounts, streakOf } from "../../src/core/Delta.ts"
import { Storage } from "../../src/index.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { build } from "../fleet/contender.ts"
import { startStore } from "../fleet/stores.ts"

const [INSTANCES, CIRCUITS, POLLS, ROUNDS] = [20, 50, 10, 6]

const successes = (buckets: number): Delta => ({
  ...noDelta,
  buckets: Array.from({ length: buckets }, (_, i) => ({
    age: 1000 * (buckets - 1 - i),
    success: 5,
    failure: 0,
    slow: 0
  })),
  streak: streakOf([false]),
  lifetime: { ...noLifetimeCounts, success: 5 * buckets, lastSuccessAge: 0 }
})

const [STREAK, RATE] = [[], [60_000]]

interface Case {
  readonly name: string
  readonly withins: ReadonlyArray<number>
  readonly delta: Delta
}

const cases: ReadonlyArray<Case> = [
  { name: "a streak", withins: STREAK, delta: successes(1) },
  { name: "a look at a streak", withins: STREAK, delta: noDelta },
  { name: "a rate of 60 s", withins: RATE, delta: successes(1) },
  { name: "a rate of 60 s, ten buckets", withins: RATE, delta: successes(10) },
  { name: "a look at a rate", withins: RATE, delta: noDelta }
]

const store = await startStore("postgres")
try {
  const client = () => Postgres.layer({ url: Redacted.make(store.url), maxConnections: 1 })
  const storages: Array<Storage.Storage> = []
  for (let i = 0; i < INSTANCES; i++) {
    const storage = Layer.provide(SqlStorage.layer({ deadline: "1 minute" }), client())
    storages.push(Context.get(await build(Layer.fresh(storage)), Storage.Storage))
  }
  let sequence = 0
  const round = async ({ delta, withins }: Pick<Case, "delta" | "withins">): Promise<void> => {
    for (const [i, storage] of storages.entries()) {
      const reports = Array.from({ length: CIRCUITS }, (_, circuit) => ({
        circuit: `${withins.length === 0 ? "streak" : "rate"}-${circuit}`,
        instance: `${i}`,
        sequence: ++sequence,
        generation: 0,
        delta,
        withins
      }))
      await Effect.runPromise(storage.sync(reports))
    }
  }
  // A window that is full.
  await round({ withins: RATE, delta: successes(60) })
  await round({ withins: STREAK, delta: successes(1) })
  /** Runs something that makes so many requests, and prints what one of them costs. */
  const measure = async (name: string, requests: number, run: () => Promise<unknown>): Promise<void> => {
    for (let i = 0; i < 3; i++) await run()
    const before = await store.work()
    for (let i = 0; i < ROUNDS; i++) await run()
    const after = await store.work()
    const each = (what: string) => (after[what]! - before[what]!) / (ROUNDS * requests)
    const [cpu, log] = [Math.round(1000 * each("server-cpu")), Math.round(each("log-bytes"))]
    console.log(`${name.padEnd(28)} ${String(cpu).padStart(5)} µs, ${String(log).padStart(6)} bytes of log`)
  }
  for (const one of cases) await measure(one.name, INSTANCES * CIRCUITS, () => round(one))
  const { now } = await Effect.runPromise(storages[0]!.bells!(undefined))
  await measure("a poll", INSTANCES * POLLS, async () => {
    for (const storage of storages) for (let i = 0; i < POLLS; i++) await Effect.runPromise(storage.bells!(now))
  })
} finally {
  await store.stop()
}
process.exit()
