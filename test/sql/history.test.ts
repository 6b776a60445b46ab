/** The history in a database: its statistics, and the clean-up of old data. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { type Circuit, circuitOf, failures, success, times } from "../../src/conformance/Law.ts"
import { claimCleanUp } from "../../src/sql/CleanUp.ts"
import { databaseOf } from "../../src/sql/Database.ts"
import { dialectOf } from "../../src/sql/Dialect.ts"
import { tablesOf } from "../../src/sql/Schema.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import * as SqlHistory from "../../src/Storage/SqlHistory.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { build, circuit, databases, errorOf, freshPrefix, PATIENT } from "./databases.ts"

const HOUR = 3_600_000

/** Opens the circuit, and closes it by a probe. */
const fallAndRise = (it: Circuit, sequence = 1) =>
  Effect.gen(function*() {
    yield* it.open()
    yield* it.operate({ _tag: "HalfOpen" })
    yield* it.ask("a", { sequence })
    yield* it.settle("a", success(), { sequence })
  })

describe.each(databases)("$name", (database) => {
  const options = { ...PATIENT, prefix: freshPrefix(), retention: "1 hour", cleanUp: false } as const
  const layer = Layer.mergeAll(SqlStorage.layer(options), SqlHistory.layer(options)).pipe(
    Layer.provideMerge(database.client())
  )
  const table = `${options.prefix}history`

  /** Moves all changes in the history of a circuit back by so many milliseconds. */
  const age = (of: Circuit, by: number) =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const dialect = dialectOf(sql)
      const rows = yield* sql<{ readonly generation: unknown; readonly entry: string }>`
SELECT generation, entry FROM ${sql(table)} WHERE service_name = ${of.name}`
      for (const row of rows) {
        const entry = JSON.parse(row.entry)
        const at = entry.at - by
        yield* sql`UPDATE ${sql(table)} SET ${
          sql.update({ created_at: dialect.time(at), entry: JSON.stringify({ ...entry, at }) })
        } WHERE service_name = ${of.name} AND generation = ${row.generation}`
      }
    })

  it.live("SqlHistory lists changes by time, counts them by kind, and times states and recoveries", () =>
    Effect.gen(function*() {
      const history = yield* SqlHistory.History
      const it = yield* circuit("'; drop table --")
      yield* fallAndRise(it)
      yield* age(it, HOUR)
      const { asOf } = yield* it.read
      yield* fallAndRise(it, 2)
      yield* it.open()
      const since = asOf - 1
      const all = yield* history.entries(it.name)
      assert.deepEqual(all.map(({ to }) => to), ["Open", "Closed", "HalfOpen", "Open", "Closed", "HalfOpen", "Open"])
      const late = yield* history.entries(it.name, { since, limit: 2 })
      assert.deepEqual(late, all.slice(0, 2))
      assert.deepEqual(yield* history.entries(it.name, { since: new Date(since) }), all.slice(0, 4))
      assert.deepEqual(yield* history.entries(it.name, { until: since }), all.slice(4))
      assert.deepEqual(yield* history.changes({ since, circuit: it.name }), [
        { from: "Closed", to: "Open", count: 2 },
        { from: "HalfOpen", to: "Closed", count: 1 },
        { from: "Open", to: "HalfOpen", count: 1 }
      ])
      assert.deepInclude(yield* history.changes({}), { from: "Closed", to: "Open", count: 3 })

      // The circuit was open for a moment an hour ago, and has been open for a moment now.
      const spent = yield* history.timeInStates(it.name, { since: asOf - 2 * HOUR })
      const sum = Duration.toMillis(spent.Closed) + Duration.toMillis(spent.Open) + Duration.toMillis(spent.HalfOpen)
      assert.closeTo(sum, 2 * HOUR, HOUR / 60)
      assert.closeTo(Duration.toMillis(spent.Closed), 2 * HOUR, HOUR / 60)
      const open = yield* history.timeInStates(it.name, { since: asOf + HOUR, until: asOf + 2 * HOUR })
      assert.strictEqual(Duration.toMillis(open.Open), HOUR)
      const recovery = Option.getOrThrow(yield* history.meanTimeToRecover(it.name))
      const [oldest, , second] = all.toReversed()
      const first = second!.at - oldest!.at
      assert.closeTo(Duration.toMillis(recovery), (first + all[1]!.at - all[3]!.at) / 2, 1e-6)
      assert.isTrue(Option.isNone(yield* history.meanTimeToRecover(it.name, { until: 0 })))
      assert.strictEqual((yield* errorOf(history.entries("\ud800"))).reason, "Invalid")
    }).pipe(Effect.provide(layer)))

  it.live("the clean-up deletes old history, expired circuits and expired instances, and nothing else", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const old = yield* circuit("old")
      const short = { ...options, idleTimeToLive: "1 second" } as const
      const history = Context.get(yield* Layer.build(SqlHistory.layer(short)), SqlHistory.History)
      const forgetful = yield* build(database.client(), short)
      const [idle, kept] = ["idle", "kept"].map((name) => circuitOf(forgetful, `${name} ${freshPrefix()}`)) as [
        Circuit,
        Circuit
      ]
      yield* fallAndRise(old)
      yield* age(old, 2 * HOUR)
      for (const instance of ["a", "b"]) yield* idle.report(failures(1), { instance })
      yield* kept.operate({ _tag: "Override", kind: "Disabled", reason: "maintenance", actor: "ann" })
      yield* Effect.sleep("1100 millis")
      yield* kept.report(failures(1))
      const cleaned = yield* history.cleanUp
      assert.isAtLeast(cleaned.changes, 4)
      assert.isAtLeast(cleaned.circuits, 1)
      assert.isAtLeast(cleaned.instances, 2)
      assert.deepEqual(yield* history.entries(old.name), [])
      assert.lengthOf(yield* history.entries(kept.name), 1)
      const left = (name: string) =>
        sql`SELECT service_name FROM ${sql(`${options.prefix}counts`)} WHERE service_name = ${name}`
      assert.lengthOf(yield* left(idle.name), 0)
      assert.isNotEmpty(yield* left(kept.name))
      assert.deepInclude(yield* kept.read, { streak: 1 })
      assert.deepEqual((yield* history.cleanUp).changes, 0)
    }).pipe(Effect.scoped, Effect.provide(layer)))

  it.live("one of many concurrent claims of the clean-up is granted", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const storage = yield* Storage
      yield* circuitOf(storage, "any").read
      const tables = databaseOf(sql, tablesOf(options.prefix, undefined), 1000)
      const claims = yield* Effect.forEach(times(20), () => claimCleanUp(tables, HOUR), { concurrency: "unbounded" })
      assert.lengthOf(claims.filter((isDue) => isDue), 1)
    }).pipe(Effect.provide(layer)))
})
