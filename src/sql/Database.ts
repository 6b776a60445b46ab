/** The database that a storage keeps its circuits in. */
import type { SqlClient } from "effect/sql/SqlClient"
import { type Dialect, dialectOf } from "./Dialect.ts"
import type { Tables } from "./Schema.ts"

export interface Database {
  readonly sql: SqlClient
  readonly dialect: Dialect
  readonly tables: Tables
  /** After how long without use a circuit expires. */
  readonly idleMillis: number
}

/** Throws a `RangeError` for a client of another dialect. */
export const databaseOf = (client: SqlClient, tables: Tables, idleMillis: number): Database => {
  const sql = client.withoutTransforms()
  return { sql, dialect: dialectOf(sql), tables, idleMillis }
}
