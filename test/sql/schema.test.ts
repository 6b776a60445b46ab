/** Tables that are created from the printed schema, by hand. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { circuitOf, failures } from "../../src/conformance/Law.ts"
import * as SqlSchema from "../../src/Storage/SqlSchema.ts"
import { build, type Database, freshPrefix, mariadb, postgres, sqlite } from "./databases.ts"

const statementsOf = (flavour: SqlSchema.Flavour, options: SqlSchema.TableOptions) =>
  SqlSchema.print(flavour, options).split(/;\n\n?/).filter((statement) => statement !== "")

const run = (database: Database, statements: ReadonlyArray<string>) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
  ).pipe(
    Effect.provide(Layer.fresh(database.client()))
  )

const works = Effect.fnUntraced(function*(database: Database, options: SqlSchema.TableOptions) {
  const storage = yield* build(database.client(), { ...options, migrate: false })
  const it = circuitOf(storage, "circuit")
  yield* it.report(failures(1))
  const { now } = yield* storage.bells!(undefined)
  yield* it.open()
  assert.lengthOf(yield* storage.history("circuit"), 1)
  assert.lengthOf((yield* storage.bells!(now)).rung, 1)
  // A storage that creates missing tables uses these.
  const other = yield* build(database.client(), options)
  assert.strictEqual((yield* circuitOf(other, "circuit").read).state._tag, "Open")
})

describe("the printed schema", () => {
  for (const [flavour, database] of [["sqlite", sqlite], ["postgres", postgres], ["mariadb", mariadb]] as const) {
    it.live(`the printed schema is what a storage needs, and can be run twice: ${flavour}`, () =>
      Effect.gen(function*() {
        const options = { prefix: freshPrefix() }
        const statements = statementsOf(flavour, options)
        yield* run(database, [...statements, ...statements])
        yield* works(database, options)
      }).pipe(Effect.scoped))
  }

  it.live("the tables may lie in a schema of their own", () =>
    Effect.gen(function*() {
      const options = { prefix: freshPrefix(), schema: freshPrefix() }
      yield* run(postgres, statementsOf("postgres", options))
      yield* works(postgres, options)
      const made = yield* build(postgres.client(), { ...options, schema: freshPrefix() })
      yield* circuitOf(made, "circuit").open()
    }).pipe(Effect.scoped))

  it.live("Postgres may partition the history by time", () =>
    Effect.gen(function*() {
      const options = { prefix: freshPrefix() }
      const history = `"${options.prefix}history"`
      const statements = statementsOf("postgres", options)
        .map((statement) =>
          statement.includes(`EXISTS ${history} (`) ? `${statement} PARTITION BY RANGE (created_at)` : statement
        )
        .map((statement) => statement.includes(`ON ${history}`) ? statement.replace("CONCURRENTLY", "") : statement)
      const partitions = [["2000-01-01", "2026-01-01"], ["2026-01-01", "2100-01-01"]].map(([from, to], index) =>
        `CREATE TABLE ${options.prefix}history_${index} PARTITION OF ${history} FOR VALUES FROM ('${from}') TO ('${to}')`
      )
      yield* run(postgres, [...statements, ...partitions])
      yield* works(postgres, options)
    }).pipe(Effect.scoped))

  it("the printed schema refuses invalid prefixes and schema names", () => {
    for (const prefix of ["a.b", "a\"b", "A", "1a", "a".repeat(33), "a b", "a`b"]) {
      assert.throws(() => SqlSchema.print("postgres", { prefix }), /prefix must be at most 32/)
      assert.throws(() => SqlSchema.print("postgres", { schema: `${prefix.repeat(2)}.` }), /schema must be/)
    }
  })
})
