/**
 * The tables of circuit breakers as plain SQL, for people who run their own migrations: a storage finds them made, and its
 * user needs no more than `SELECT`, `INSERT`, `UPDATE` and `DELETE` on them.
 *
 * @since 0.1.0
 */
import { type Flavour, migrations, noted } from "../sql/Schema.ts"
import { type TableOptions, tablesFor } from "../sql/Settings.ts"

export type { Flavour } from "../sql/Schema.ts"
export type { TableOptions } from "../sql/Settings.ts"

/**
 * The databases whose SQL is spoken.
 *
 * @category constants
 * @since 0.1.0
 */
export const flavours: ReadonlyArray<Flavour> = ["postgres", "mysql", "mariadb", "sqlite"]

/**
 * All statements, each harmless where it was run before. Throws a `RangeError` for options that make no sense.
 *
 * **Gotchas**
 *
 * For Postgres, indexes are made `CONCURRENTLY`, which waits for nobody and must not be in a transaction.
 *
 * @category constructors
 * @since 0.1.0
 */
export const print = (flavour: Flavour, options: TableOptions = {}): string => {
  const tables = tablesFor(options)
  const made = [
    ...options.schema === undefined ? [] : [`CREATE SCHEMA IF NOT EXISTS "${options.schema}"`],
    ...migrations.flatMap((migration) => migration.statements(flavour, tables)),
    ...noted(flavour, tables)
  ]
  return made
    .map((statement) =>
      flavour === "postgres" ? statement.replace(/^CREATE INDEX/, "CREATE INDEX CONCURRENTLY") : statement
    )
    .map((statement) => `${statement};\n`)
    .join("\n")
}
