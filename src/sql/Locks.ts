/**
 * Who holds which rows.
 *
 * **Invariants**
 *
 * - A report holds one row of `counts`: the stripe that its instance reports to. A change holds the circuit's row in
 *   `states` and all of its stripes. So reports rarely wait for each other, and each change has seen all of a report or
 *   nothing of it.
 * - In Postgres a report holds its stripe only while it is written, and writes it only if its text is the one that was read.
 *   Each writer begins the text with an id of its own, a change too. So it is as if the stripe had been held since.
 * - Or Postgres adds it to a stripe that only other reports have written since, which the stripe's `base` tells. It is then as if
 *   the reports were of two stripes: neither has seen the other, and both count.
 * - Rows of `counts`, and those of reports in `instances`, are written only while their stripe is held, so they need no lock
 *   of their own.
 * - All transactions lock in one order: circuits by name, a circuit's row before its stripes, stripes by number.
 */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Database } from "./Database.ts"
import { anyOf } from "./Dialect.ts"

/** A row of `counts`. */
export interface StripeRow {
  readonly key: string
  readonly index: number
}

/** Locks these stripes, and returns those that exist. Without `waits` it leaves out those that another one holds. */
export const lockStripes = (
  { dialect, sql, tables }: Database,
  rows: ReadonlyArray<StripeRow>,
  waits: boolean
): Effect.Effect<ReadonlyArray<StripeRow>, SqlError> =>
  Effect.map(
    sql<{ readonly service_name: string; readonly stripe: unknown }>`
SELECT service_name, stripe FROM ${sql(tables.counts)}
WHERE ${anyOf(sql, rows.map(({ index, key }) => ({ service_name: key, stripe: index })))}
ORDER BY service_name, stripe ${sql.literal(waits ? dialect.forUpdate : dialect.forUpdateSkipLocked)}`,
    (found) => found.map(({ service_name, stripe }) => ({ key: service_name, index: Number(stripe) }))
  )

/** Locks circuits with all of their stripes, and returns the keys of those that have rows. */
export const lockCircuits = (
  { dialect, sql, tables }: Database,
  keys: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, SqlError> => {
  const forUpdate = sql.literal(dialect.forUpdate)
  return Effect.flatMap(
    sql<{ readonly service_name: string }>`
SELECT service_name FROM ${sql(tables.states)} WHERE ${sql.in("service_name", keys)}
ORDER BY service_name ${forUpdate}`,
    (rows) =>
      rows.length === 0 ? Effect.succeed([]) : Effect.as(
        sql`
SELECT stripe FROM ${sql(tables.counts)} WHERE ${sql.in("service_name", keys)}
ORDER BY service_name, stripe ${forUpdate}`,
        rows.map(({ service_name }) => service_name)
      )
  )
}
