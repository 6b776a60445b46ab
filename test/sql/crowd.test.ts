/** Concurrent requests: no report is lost, and no request fails. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { SqlClient } from "effect/sql"
import { atOnce, circuitOf, failures, reading, times } from "../../src/conformance/Law.ts"
import { migrations } from "../../src/sql/Schema.ts"
import { build, databases, freshPrefix, layerOn, postgres } from "./databases.ts"

describe.each(databases)("$name", (database) => {
  it.live("a thousand reports of one circuit at once are each counted once", () =>
    Effect.gen(function*() {
      const storages = yield* Effect.forEach(times(4), () => build(database.client()))
      const name = `crowd ${freshPrefix()}`
      // No count leaves a window of an hour, however long this machine takes.
      const withins = [3_600_000]
      const answers = yield* Effect.forEach(times(1000), (index) =>
        storages[index % 4]!.sync([{ ...reading(name, `instance ${index}`), withins, delta: failures(1) }]), {
        concurrency: "unbounded"
      })
      assert.deepEqual(
        answers.flat().filter(({ result }) =>
          Result.isFailure(result)
        ),
        []
      )
      const { lifetime, streak, totals } = (yield* circuitOf(storages[0]!, name).send({ withins })).snapshot
      assert.deepEqual([lifetime.failure, streak, totals[0]?.failure], [1000, 1000, 1000])
    }).pipe(Effect.scoped))

  it.live("concurrent batches of the same circuits in any order, with changes of these, do not deadlock", () =>
    Effect.gen(function*() {
      const storages = yield* Effect.forEach(times(3), () => build(database.client()))
      const names = times(20).map((index) => `batch ${index} ${freshPrefix()}`)
      const shuffled = (by: number) => names.map((_, index) => names[(index * 7 + by) % names.length]!)
      yield* Effect.forEach(times(60), (round) => {
        const storage = storages[round % 3]!
        return Effect.andThen(
          storage.sync(
            shuffled(round).map((name) => ({ ...reading(name, `instance ${round}`), delta: failures(1) }))
          ).pipe(
            Effect.tap((answers) =>
              Effect.sync(() => assert.deepEqual(answers.filter(({ result }) => Result.isFailure(result)), []))
            )
          ),
          circuitOf(storage, names[round % 20]!).operate({ _tag: "Reset" })
        )
      }, { concurrency: "unbounded", discard: true })
      for (const name of names) {
        const { generation, lifetime } = yield* circuitOf(storages[0]!, name).read
        assert.strictEqual(lifetime.failure, 60)
        assert.isAbove(generation, 0)
      }
    }).pipe(Effect.scoped))

  it.live("forty instances that start at once on a database without tables create them once", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      yield* Effect.forEach(times(40), (index) =>
        Effect.gen(function*() {
          const storage = yield* build(database.client({ maxConnections: 2 }), { prefix })
          const it = circuitOf(storage, "circuit")
          yield* it.send({ instance: `${index}`, sequence: 1, delta: failures(1) })
        }), { concurrency: "unbounded", discard: true })
      const storage = yield* build(database.client(), { prefix })
      assert.strictEqual((yield* circuitOf(storage, "circuit").read).lifetime.failure, 40)
      const sql = yield* SqlClient.SqlClient
      assert.lengthOf(yield* sql`SELECT migration_id FROM ${sql(`${prefix}migrations`)}`, migrations.length)
    }).pipe(Effect.scoped, Effect.provide(layerOn(database))))
})

describe("in a Postgres with another default isolation", () => {
  it.live.each(["repeatable read", "serializable"])(
    "concurrent batches fail in no instance: %s",
    (isolation) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const name = freshPrefix()
        yield* sql`CREATE DATABASE ${sql(name)}`
        yield* sql`ALTER DATABASE ${sql(name)} SET default_transaction_isolation = ${sql.literal(`'${isolation}'`)}`
        const storages = yield* Effect.forEach(times(4), () => build(postgres.client({ database: name })))
        const circuits = times(20).map((index) => `circuit ${index}`)
        for (const sequence of times(10)) {
          // The first ones come while the tables are created.
          const answers = yield* atOnce(4, (index) =>
            storages[index]!.sync(circuits.map((circuit) => ({
              ...reading(circuit, "a"),
              sequence: sequence + 1,
              delta: failures(1)
            }))))
          assert.deepEqual(answers.flat().filter(({ result }) => Result.isFailure(result)), [])
        }
        for (const circuit of circuits) {
          assert.strictEqual((yield* circuitOf(storages[0]!, circuit).read).lifetime.failure, 10)
        }
      }).pipe(Effect.scoped, Effect.provide(layerOn(postgres)))
  )
})
