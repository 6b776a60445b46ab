/** The SQL in which the databases differ. */
import type { SqlClient } from "effect/sql/SqlClient"
import type { Fragment } from "effect/sql/Statement"
import { MOST_STRIPES } from "./Stripes.ts"

export interface Dialect {
  readonly backend: "sqlite" | "postgres" | "mysql"
  /** Whether processes of several hosts share the database. */
  readonly shared: boolean
  /** The stripes of a circuit. */
  readonly stripes: number
  /** Unix milliseconds of the server's clock, read now and not when the transaction began. */
  readonly clock: string
  /** The end of a `SELECT` that locks its rows until the transaction ends. */
  readonly forUpdate: string
  /** The same without rows that another transaction has locked. */
  readonly forUpdateSkipLocked: string
  /** Begins a transaction that reads committed rows; `undefined` where the client's own `BEGIN` does. */
  readonly begin: string | undefined
  /** A time as the value of a column. */
  readonly time: (millis: number | undefined) => Date | string | null
  /** The end of an `INSERT` whose rows may exist: these columns of them are set to these expressions. */
  readonly upsert: (keys: ReadonlyArray<string>, values: Readonly<Record<string, string>>) => string
  /** In the expressions of an upsert: a column of the existing row. */
  readonly stored: (table: string, column: string) => string
  /** In the expressions of an upsert: a column of the row to insert. */
  readonly inserted: (column: string) => string
}

const onConflict = (keys: ReadonlyArray<string>, values: Readonly<Record<string, string>>): string => {
  const set = Object.entries(values).map(([column, value]) => `${column} = ${value}`)
  return `ON CONFLICT (${keys.join(", ")}) DO ${set.length === 0 ? "NOTHING" : `UPDATE SET ${set.join(", ")}`}`
}

const iso = (millis: number): string => new Date(millis).toISOString()

const optional = <A>(f: (millis: number) => A) => (millis: number | undefined): A | null =>
  millis === undefined || !Number.isFinite(millis) ? null : f(millis)

const quoted = (names: string): string => names.split(".").map((name) => `"${name}"`).join(".")

const sqlite: Dialect = {
  backend: "sqlite",
  shared: false,
  stripes: 1,
  clock: "unixepoch('subsec') * 1000",
  forUpdate: "",
  forUpdateSkipLocked: "",
  begin: "BEGIN IMMEDIATE",
  time: optional(iso),
  upsert: onConflict,
  stored: (table, column) => `${quoted(table)}.${column}`,
  inserted: (column) => `excluded.${column}`
}

const postgres: Dialect = {
  backend: "postgres",
  shared: true,
  stripes: MOST_STRIPES,
  clock: "extract(epoch FROM clock_timestamp()) * 1000",
  forUpdate: "FOR UPDATE",
  forUpdateSkipLocked: "FOR UPDATE SKIP LOCKED",
  begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
  time: optional((millis) => new Date(millis)),
  upsert: onConflict,
  // An upsert of Postgres names its table without the schema.
  stored: (table, column) => `${quoted(table.split(".").at(-1)!)}.${column}`,
  inserted: (column) => `excluded.${column}`
}

const mysql: Dialect = {
  backend: "mysql",
  shared: true,
  stripes: MOST_STRIPES,
  clock: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000",
  forUpdate: "FOR UPDATE",
  forUpdateSkipLocked: "FOR UPDATE SKIP LOCKED",
  begin: undefined,
  time: optional((millis) => iso(millis).replace("T", " ").replace("Z", "")),
  upsert: (keys, values) => {
    const set = Object.entries(values).map(([column, value]) => `${column} = ${value}`)
    return `ON DUPLICATE KEY UPDATE ${set.length === 0 ? `${keys[0]} = ${keys[0]}` : set.join(", ")}`
  },
  stored: (_, column) => column,
  inserted: (column) => `VALUES(${column})`
}

/** The dialect of a client. Throws a `RangeError` for a database that is not supported. */
export const dialectOf = (sql: SqlClient): Dialect =>
  sql.onDialectOrElse<Dialect, Dialect, Dialect, Dialect>({
    sqlite: () => sqlite,
    pg: () => postgres,
    mysql: () => mysql,
    orElse: () => {
      throw new RangeError(
        `Storage "sql": the database must be SQLite, Postgres, MySQL or MariaDB, got the client "${sql.driver}"`
      )
    }
  })

/** The condition that a row equals one of these in each of their columns. */
export const anyOf = (
  sql: SqlClient,
  rows: ReadonlyArray<Readonly<Record<string, unknown>>>
): Fragment =>
  // Not all databases use an index for `(a, b) IN (…)`.
  sql.or(rows.map((row) => sql.and(Object.entries(row).map(([column, value]) => sql`${sql(column)} = ${value}`))))
