/**
 * The tables of circuit breakers as plain SQL, for programs that run their own migrations. A storage that finds its
 * tables needs no rights on them but `SELECT`, `INSERT`, `UPDATE` and `DELETE`.
 *
 * @since 0.1.0
 */
import { type Flavour, migrations, noted } from "../sql/Schema.ts"
import { type TableOptions, tablesFor } from "../sql/Settings.ts"

export type { Flavour } from "../sql/Schema.ts"
export type { TableOptions } from "../sql/Settings.ts"

/**
 * The databases that there are statements for.
 *
 * @category constants
 * @since 0.1.0
 */
export const flavours: ReadonlyArray<Flavour> = ["postgres", "mysql", "mariadb", "sqlite"]

/**
 * All statements. Each does nothing if it was run before. Throws a `RangeError` for a prefix or schema that is no plain
 * identifier.
 *
 * **Gotchas**
 *
 * For Postgres, indexes are created `CONCURRENTLY`, which blocks no writer and cannot run in a transaction.
 *
 * @category constructors
 * @since 0.1.0
 */
export const print = (flavour: Flavour, options: TableOptions = {}): string => {
  const tables = tablesFor(options)
  const printed = [
    ...options.schema === undefined ? [] : [`CREATE SCHEMA IF NOT EXISTS "${options.schema}"`],
    ...migrations.flatMap((migration) => migration.statements(flavour, tables)),
    ...noted(flavour, tables)
  ]
  return printed
    .map((statement) =>
      flavour === "postgres" ? statement.replace(/^CREATE INDEX/, "CREATE INDEX CONCURRENTLY") : statement
    )
    .map((statement) => `${statement};\n`)
    .join("\n")
}
