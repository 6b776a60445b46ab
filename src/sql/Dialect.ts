/** What databases say in their own words. */
import type { SqlClient } from "effect/sql/SqlClient"
import type { Fragment } from "effect/sql/Statement"
import { MOST_STRIPES } from "./Stripes.ts"

export interface Dialect {
  readonly backend: "sqlite" | "postgres" | "mysql"
  /** Hosts share it. */
  readonly shared: boolean
  readonly stripes: number
  /** Milliseconds by the server's clock as it is now, and not when the transaction began. */
  readonly clock: string
  /** Behind a `SELECT`: nobody else may change these rows until the transaction ends. */
  readonly forUpdate: string
  /** How a transaction begins that reads what is committed, whatever the database's default; absent for the client's own way. */
  readonly begin: string | undefined
  /** A time as a column takes it. */
  readonly time: (millis: number | undefined) => Date | string | null
  /** The end of an `INSERT` of a row that may be there. */
  readonly upsert: (keys: ReadonlyArray<string>, values: Readonly<Record<string, string>>) => string
  /** In an upsert: a column as it is, and as it was to be inserted. */
  readonly stored: (table: string, column: string) => string
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
  begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
  time: optional((millis) => new Date(millis)),
  upsert: onConflict,
  // A table is called by its last name there.
  stored: (table, column) => `${quoted(table.split(".").at(-1)!)}.${column}`,
  inserted: (column) => `excluded.${column}`
}

const mysql: Dialect = {
  backend: "mysql",
  shared: true,
  stripes: MOST_STRIPES,
  clock: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1000",
  forUpdate: "FOR UPDATE",
  begin: undefined,
  time: optional((millis) => iso(millis).replace("T", " ").replace("Z", "")),
  upsert: (keys, values) => {
    const set = Object.entries(values).map(([column, value]) => `${column} = ${value}`)
    return `ON DUPLICATE KEY UPDATE ${set.length === 0 ? `${keys[0]} = ${keys[0]}` : set.join(", ")}`
  },
  stored: (_, column) => column,
  inserted: (column) => `VALUES(${column})`
}

/** How to speak to the client's database. Throws a `RangeError` for one that is not known. */
export const dialectOf = (sql: SqlClient): Dialect =>
  sql.onDialectOrElse<Dialect, Dialect, Dialect, Dialect>({
    sqlite: () => sqlite,
    pg: () => postgres,
    mysql: () => mysql,
    orElse: () => {
      throw new RangeError("Storage \"sql\": the client must be one of SQLite, Postgres, MySQL or MariaDB")
    }
  })

/** The rows of a table that have one of these values in each of the columns. */
export const anyOf = (
  sql: SqlClient,
  rows: ReadonlyArray<Readonly<Record<string, unknown>>>
): Fragment =>
  // Not all databases find `(a, b) IN (…)` by an index.
  sql.or(rows.map((row) => sql.and(Object.entries(row).map(([column, value]) => sql`${sql(column)} = ${value}`))))
