/** Lists the circuits that have a record, a page of names at a time. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { SqlError } from "effect/sql/SqlError"
import { expired } from "../core/Record.ts"
import type { Database } from "./Database.ts"
import { nameOf } from "./NameColumns.ts"
import { readNowMillis, readView } from "./View.ts"

/** Rows of `states` in one page. */
const PAGE = 500

interface ListedRow {
  readonly service_name: string
  readonly full_name: string | null
  readonly is_kept: unknown
}

export interface Page {
  readonly names: ReadonlyArray<string>
  /** The key after which the next page begins; `undefined` on the last page. */
  readonly last: string | undefined
}

/** Those of these circuits that have expired or were never written. One that cannot be decoded has a record. */
const goneOf = (database: Database, keys: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>, SqlError> =>
  Effect.gen(function*() {
    const { circuit, nowMillis } = yield* readView(database, keys)
    const gone = new Set<string>()
    for (const key of keys) {
      const stored = yield* Effect.result(circuit(key))
      if (Result.isFailure(stored)) continue
      const { record } = stored.success
      if (record === undefined || expired(record, database.idleMillis, nowMillis)) gone.add(key)
    }
    return gone
  })

/**
 * The page of names after this key, without circuits that have expired or were never written. `expires_at` is as of the last change or
 * clean-up, and reports since may have made it later. So only a circuit for which that time has passed has to be read.
 */
export const pageAfter = (database: Database, after: string | undefined): Effect.Effect<Page, SqlError> =>
  Effect.gen(function*() {
    const { dialect, sql, tables } = database
    const now = dialect.time(yield* readNowMillis(database))
    const [states, counts] = [sql(tables.states), sql(tables.counts)]
    // For `EXISTS` Postgres would read all counts for each page.
    const rows = yield* sql<ListedRow>`
SELECT service_name, full_name, CASE WHEN expires_at > ${now} AND (document IS NOT NULL OR
(SELECT 1 FROM ${counts} AS counts WHERE counts.service_name = states.service_name AND delta IS NOT NULL LIMIT 1) = 1)
THEN 1 ELSE 0 END AS is_kept FROM ${states} AS states
${after === undefined ? sql.literal("") : sql`WHERE service_name > ${after}`}
ORDER BY service_name LIMIT ${sql.literal(String(PAGE))}`
    const doubtful = rows.filter(({ is_kept }) => Number(is_kept) === 0).map(({ service_name }) => service_name)
    const gone = doubtful.length === 0 ? new Set() : yield* goneOf(database, doubtful)
    const names = rows.flatMap(({ full_name, service_name }) =>
      gone.has(service_name) ? [] : [nameOf(service_name, full_name)]
    )
    return { names, last: rows.length < PAGE ? undefined : rows.at(-1)!.service_name }
  })
