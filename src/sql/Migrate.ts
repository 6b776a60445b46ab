/** Creates missing tables, by one of the instances that start at once. */
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import { ConnectionError, isSqlError, LockTimeoutError, SqlError } from "effect/sql/SqlError"
import type { Database } from "./Database.ts"
import { type Flavour, migrations } from "./Schema.ts"

/** How long an instance waits for another one that creates the tables. */
const LOCK_TIMEOUT_SECONDS = 60

const flavourOf = ({ dialect: { backend }, sql }: Database): Effect.Effect<Flavour, SqlError> =>
  backend === "mysql"
    ? Effect.map(
      sql<{ readonly version: string }>`SELECT VERSION() AS version`,
      ([row]) => row?.version.includes("MariaDB") === true ? "mariadb" : "mysql"
    )
    : Effect.succeed(backend)

const isCurrent = ({ sql, tables }: Database): Effect.Effect<boolean> =>
  Effect.match(sql`SELECT migration_id FROM ${sql(tables.migrations)} WHERE migration_id = ${migrations.length}`, {
    onSuccess: (rows) => rows.length > 0,
    // The table is missing; any other trouble comes up again, with an error, when the tables are created.
    onFailure: () => false
  })

/** Creates a schema. `IF NOT EXISTS` may fail for one of two that create it at once, so a failure is checked. */
const createSchema = ({ sql }: Database, schema: string): Effect.Effect<unknown, SqlError> => {
  const found = sql`SELECT 1 AS found FROM pg_namespace WHERE nspname = ${schema}`
  return Effect.flatMap(
    found,
    (rows) =>
      rows.length > 0 ? Effect.void : sql`CREATE SCHEMA IF NOT EXISTS ${sql(schema)}`.pipe(
        Effect.catch((error) => Effect.flatMap(found, (rows) => rows.length > 0 ? Effect.void : Effect.fail(error)))
      )
  )
}

const lockError = (name: string, locked: unknown): SqlError => {
  const cause = new Error(`GET_LOCK('${name}', ${LOCK_TIMEOUT_SECONDS}) answered ${String(locked)}`)
  return new SqlError({
    reason: Number(locked) === 0 && locked !== null
      ? new LockTimeoutError({ cause, message: `another instance holds the lock ${name}` })
      : new ConnectionError({ cause, message: `the server gave no lock ${name}` })
  })
}

/**
 * Holds a lock of this name while the effect runs. MySQL commits after each `CREATE TABLE`, so a transaction is no
 * lock.
 */
const withNamedLock = <A, E, R>({ sql }: Database, table: string, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.gen(function*() {
    const name = table.slice(0, 64)
    const connection = yield* sql.reserve
    yield* Effect.acquireRelease(
      Effect.gen(function*() {
        const [row] = yield* connection.execute(
          "SELECT GET_LOCK(?, ?) AS locked",
          [name, LOCK_TIMEOUT_SECONDS],
          undefined
        )
        if (Number(row?.locked) !== 1) return yield* lockError(name, row?.locked)
      }),
      () => Effect.ignore(connection.execute("SELECT RELEASE_LOCK(?)", [name], undefined))
    )
    return yield* effect
  }))

/** Errors outside of a migration are of its preparations: they advise to make the tables by hand, too. */
const ofMigration = (error: SqlError | Migrator.MigrationError): Migrator.MigrationError =>
  isSqlError(error)
    ? new Migrator.MigrationError({ kind: "Failed", cause: error, message: "The migrations could not be prepared" })
    : error

/** Runs the migrations that have not run yet, in a schema that is created where it is missing. */
export const migrate = (
  database: Database,
  schema: string | undefined
): Effect.Effect<void, Migrator.MigrationError> =>
  Effect.gen(function*() {
    const { dialect, sql, tables } = database
    if (yield* isCurrent(database)) return
    const flavour = yield* flavourOf(database)
    if (schema !== undefined && flavour === "postgres") yield* createSchema(database, schema)
    const create = (index: number) =>
      Effect.forEach(migrations[index]!.statements(flavour, tables), (statement) => sql.unsafe(statement), {
        discard: true
      })
    const run = Migrator.make({})({
      table: tables.migrations,
      loader: Effect.succeed(
        migrations.map(({ name }, index) => [index + 1, name, Effect.succeed(create(index))] as const)
      )
    })
    if (dialect.begin !== undefined) {
      // A stricter isolation would not see what others have created while this one waited.
      return yield* Effect.provideService(run, SqlClient.BeginTransaction, dialect.begin)
    }
    // The migrator notes a migration before it runs it. A MySQL that ends in between would keep the note without the
    // tables, so they are created before.
    const createAll = Effect.forEach(migrations, (_, index) => create(index), { discard: true })
    yield* withNamedLock(database, tables.migrations, Effect.andThen(createAll, run))
  }).pipe(Effect.provideService(SqlClient.SqlClient, database.sql), Effect.mapError(ofMigration))
