/** Makes the tables where they are missing, whoever else is at it. */
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Dialect } from "./Dialect.ts"
import { type Flavour, migrations, type Tables } from "./Schema.ts"

/** For how long one of many that start at once waits for the one that makes the tables, in seconds. */
const PATIENCE = 60

const flavourOf = (sql: SqlClient.SqlClient, { backend }: Dialect): Effect.Effect<Flavour, SqlError> =>
  backend === "mysql"
    ? Effect.map(
      sql<{ readonly version: string }>`SELECT VERSION() AS version`,
      ([row]) => row?.version.includes("MariaDB") === true ? "mariadb" : "mysql"
    )
    : Effect.succeed(backend)

const isCurrent = (sql: SqlClient.SqlClient, { migrations: table }: Tables): Effect.Effect<boolean> =>
  Effect.match(sql`SELECT migration_id FROM ${sql(table)} WHERE migration_id = ${migrations.length}`, {
    onSuccess: (rows) => rows.length > 0,
    // There is no such table, or something is wrong that whoever tries to make it will be told.
    onFailure: () => false
  })

/** Makes a schema. Two who do it at once may both be refused what one of them has done. */
const makeSchema = (sql: SqlClient.SqlClient, schema: string): Effect.Effect<unknown, SqlError> => {
  const found = sql`SELECT 1 AS found FROM pg_namespace WHERE nspname = ${schema}`
  return Effect.flatMap(
    found,
    (rows) =>
      rows.length > 0 ? Effect.void : sql`CREATE SCHEMA IF NOT EXISTS ${sql(schema)}`.pipe(
        Effect.catch((error) => Effect.flatMap(found, (rows) => rows.length > 0 ? Effect.void : Effect.fail(error)))
      )
  )
}

/** Nobody else of those who share the tables, while it runs. MySQL commits with each table, so a transaction is no lock. */
const alone = <A, E, R>(sql: SqlClient.SqlClient, name: string, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.gen(function*() {
    const connection = yield* sql.reserve
    yield* Effect.acquireRelease(
      connection.execute("SELECT GET_LOCK(?, ?)", [name.slice(0, 64), PATIENCE], undefined),
      () => Effect.ignore(connection.execute("SELECT RELEASE_LOCK(?)", [name.slice(0, 64)], undefined))
    )
    return yield* effect
  }))

export const migrate = (
  sql: SqlClient.SqlClient,
  dialect: Dialect,
  tables: Tables,
  schema: string | undefined
): Effect.Effect<void, SqlError | Migrator.MigrationError> =>
  Effect.gen(function*() {
    if (yield* isCurrent(sql, tables)) return
    const flavour = yield* flavourOf(sql, dialect)
    if (schema !== undefined && flavour === "postgres") yield* makeSchema(sql, schema)
    const make = (index: number) =>
      Effect.forEach(migrations[index]!.statements(flavour, tables), (statement) => sql.unsafe(statement), {
        discard: true
      })
    const run = Migrator.make({})({
      table: tables.migrations,
      loader: Effect.succeed(
        migrations.map(({ name }, index) => [index + 1, name, Effect.succeed(make(index))] as const)
      )
    })
    // What was cut short there must not be noted as done, so it is noted when all of it is there.
    const whole = Effect.andThen(Effect.forEach(migrations, (_, index) => make(index), { discard: true }), run)
    yield* dialect.backend === "mysql" ? alone(sql, tables.migrations, whole) : run
  }).pipe(Effect.provideService(SqlClient.SqlClient, sql))
