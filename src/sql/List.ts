/** Lists the circuits that have a record, a page of names at a time. */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { expired } from "../core/Record.ts"
import type { Database } from "./Database.ts"
import { nameOf } from "./NameColumns.ts"
import { readView } from "./View.ts"

/** Rows of `states` in one page. */
const PAGE = 500

export interface Page {
  readonly names: ReadonlyArray<string>
  /** The key after which the next page begins; `undefined` on the last page. */
  readonly last: string | undefined
}

/** The page of names after this key, without circuits that have expired or were never written. */
export const pageAfter = (database: Database, after: string | undefined): Effect.Effect<Page, SqlError> =>
  Effect.gen(function*() {
    const { idleMillis, sql, tables } = database
    const rows = yield* sql<{ readonly service_name: string; readonly full_name: string | null }>`
SELECT service_name, full_name FROM ${sql(tables.states)}
${after === undefined ? sql.literal("") : sql`WHERE service_name > ${after}`}
ORDER BY service_name LIMIT ${sql.literal(String(PAGE))}`
    if (rows.length === 0) return { names: [], last: undefined }
    const { circuit, nowMillis } = yield* readView(database, rows.map(({ service_name }) => service_name))
    const names: Array<string> = []
    for (const { full_name, service_name } of rows) {
      const isListed = yield* Effect.match(circuit(service_name), {
        onSuccess: ({ record }) => record !== undefined && !expired(record, idleMillis, nowMillis),
        // A circuit that cannot be decoded has a record.
        onFailure: () => true
      })
      if (isListed) names.push(nameOf(service_name, full_name))
    }
    return { names, last: rows.length < PAGE ? undefined : rows.at(-1)!.service_name }
  })
