/** Every statement finds its rows by an index, on a million changes of a hundred thousand circuits. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { circuitOf, failures, reading, success, times } from "../../src/conformance/Law.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import * as SqlHistory from "../../src/Storage/SqlHistory.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { type Database, databases, freshPrefix, PATIENT } from "./databases.ts"
import { withStatements } from "./statements.ts"

const CIRCUITS = 100_000
const CHANGES = 1_000_000

const HOUR = 3_600_000

const ENTRY = JSON.stringify({ generation: 1, at: 1, from: "Closed", to: "Open", why: { reason: "r" } })

/** A subquery with the numbers from 1 to `count`. */
const numbers = (database: Database, count: number): string =>
  database.name === "Postgres"
    ? `(SELECT n FROM generate_series(1::bigint, ${count}) AS g(n)) AS numbers`
    : database.name === "MariaDB"
    ? `(SELECT seq AS n FROM seq_1_to_${count}) AS numbers`
    : `(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < ${count}) SELECT n FROM g) AS numbers`

const text = (database: Database, expression: string): string =>
  database.name === "MariaDB" ? `CONCAT('circuit ', ${expression})` : `'circuit ' || (${expression})`

const time = (database: Database, millis: string): string =>
  database.name === "Postgres"
    ? `to_timestamp((${millis}) / 1000.0)`
    : database.name === "MariaDB"
    ? `DATE_ADD('1970-01-01', INTERVAL (${millis}) / 1000.0 SECOND)`
    : `strftime('%Y-%m-%dT%H:%M:%fZ', (${millis}) / 1000.0, 'unixepoch')`

const fill = (database: Database, prefix: string, now: number) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const some = numbers(database, CIRCUITS)
    const name = text(database, "n")
    for (
      const statement of [
        `INSERT INTO ${prefix}states (service_name, expires_at) SELECT ${name}, ${
          time(database, `${now + HOUR} + n`)
        } FROM ${some}`,
        `INSERT INTO ${prefix}counts (service_name, stripe) SELECT ${name}, 0 FROM ${some}`,
        `INSERT INTO ${prefix}counts (service_name, stripe) SELECT ${name}, 1 FROM ${some}`,
        `INSERT INTO ${prefix}instances SELECT ${name}, 'a', 'report', 1, ${now + HOUR} + n FROM ${some}`,
        `INSERT INTO ${prefix}history SELECT ${
          text(database, `n % ${CIRCUITS}`)
        }, n, 'closed_to_open', 'closed', 'open',
5, 5, 5, 'r', NULL, ${time(database, `${now} - n * 2500`)}, '${ENTRY}' FROM ${numbers(database, CHANGES)}`,
        `INSERT INTO ${prefix}bells SELECT ${name}, 1, ${now} - n * 1000, NULL, NULL, ${now} FROM ${some}`
      ]
    ) yield* sql.unsafe(statement)
    const analyze = database.name === "MariaDB" ? "ANALYZE TABLE" : "ANALYZE"
    for (const table of ["states", "counts", "instances", "history", "bells"]) {
      yield* sql.unsafe(`${analyze} ${prefix}${table}`)
    }
  })

/** The steps of a statement's plan that scan a whole table. Parameters get arbitrary values. */
const waste = (database: Database, statement: string) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    switch (database.name) {
      case "Postgres": {
        const values = [...new Set(statement.match(/\$\d+/g))].map(() => "NULL").join(", ")
        const plan = yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql.unsafe("SET LOCAL plan_cache_mode = force_generic_plan")
          yield* sql.unsafe(`PREPARE looked AS ${statement}`)
          const rows = yield* sql.unsafe<Readonly<Record<string, string>>>(
            `EXPLAIN EXECUTE looked${values === "" ? "" : `(${values})`}`
          )
          yield* sql.unsafe("DEALLOCATE looked")
          return rows
        }))
        return plan.map((row) => row["QUERY PLAN"] ?? "").filter((line) => line.includes("Seq Scan"))
      }
      case "MariaDB": {
        const filled = statement.replaceAll(/created_at (<|>=) \?/g, "created_at $1 UTC_TIMESTAMP() - INTERVAL 1 HOUR")
          .replaceAll("?", "'5'")
        const plan = yield* sql.unsafe<Readonly<Record<string, unknown>>>(`EXPLAIN ${filled}`)
        return plan.filter(({ table, type }) => type === "ALL" && !String(table).startsWith("<"))
      }
      default: {
        const plan = yield* sql.unsafe<{ readonly detail: string }>(`EXPLAIN QUERY PLAN ${statement}`)
        // `told` is what a subquery has found.
        return plan.filter(({ detail }) => /^SCAN (?!CONSTANT|told$)/.test(detail) && !detail.includes("INDEX"))
      }
    }
  })

describe.each(databases)("$name", (database) => {
  it.live(`every SQL statement of a storage uses an index: ${database.name}`, () => {
    const prefix = freshPrefix()
    const statements = new Set<string>()
    const layer = Layer.mergeAll(SqlStorage.layer({ ...PATIENT, prefix }), SqlHistory.layer({ prefix })).pipe(
      Layer.provideMerge(database.client())
    )
    return Effect.gen(function*() {
      const storage = yield* Storage
      const history = yield* SqlHistory.History
      const { asOf } = yield* circuitOf(storage, "circuit 1").read
      yield* fill(database, prefix, asOf)
      yield* Effect.gen(function*() {
        const it = circuitOf(storage, "circuit 7")
        yield* storage.sync(
          times(100).map((index) => ({ ...reading(`circuit ${index}`, `${index}`), delta: failures(1), suspect: HOUR }))
        )
        yield* storage.bells!(asOf)
        yield* it.read
        yield* it.open()
        yield* it.operate({ _tag: "HalfOpen" })
        yield* it.ask("a")
        yield* it.settle("a", success())
        yield* storage.history("circuit 8")
        yield* Stream.runCollect(Stream.take(storage.list, 1000))
        yield* history.entries(it.name, { since: 0, until: asOf, limit: 1 })
        yield* history.changes({ since: asOf - HOUR })
        yield* history.changes({ since: 0, circuit: it.name })
        yield* history.timeInStates(it.name, { since: asOf })
        yield* history.meanTimeToRecover(it.name, { since: asOf })
        yield* history.cleanUp
      }).pipe(withStatements((statement) => statements.add(statement)))
      // An `INSERT` of values is left out, because it reads rows only by their primary key.
      const looked = [...statements].filter((statement) => /^\s*(SELECT|UPDATE|DELETE|WITH)/.test(statement))
      assert.isAtLeast(looked.length, 15)
      const wasteful: Array<unknown> = []
      for (const statement of looked) {
        const found = yield* waste(database, statement)
        if (found.length > 0) wasteful.push([statement, found])
      }
      assert.deepEqual(wasteful, [])
    }).pipe(Effect.provide(layer))
  })
})
