/** Reads the history of circuits, and computes statistics from it. */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { HistoryEntry, StorageError } from "../Storage/Storage.ts"
import type { Database } from "./Database.ts"
import { unreadable } from "./DatabaseErrors.ts"
import { keyOf } from "./NameColumns.ts"
import { entryFrom } from "./Rows.ts"

/** Changes from `sinceMillis` on and before `untilMillis`, by the storage's clock. */
export interface TimeRange {
  readonly sinceMillis?: number | undefined
  readonly untilMillis?: number | undefined
}

/** The condition on rows of `history`: a time range, of one circuit or of all. */
export const within = (
  { dialect, sql }: Database,
  { sinceMillis, untilMillis }: TimeRange,
  circuit: string | undefined
): Fragment =>
  sql.and([
    ...circuit === undefined ? [] : [sql`service_name = ${keyOf(circuit)}`],
    ...sinceMillis === undefined ? [] : [sql`created_at >= ${dialect.time(sinceMillis)}`],
    ...untilMillis === undefined ? [] : [sql`created_at < ${dialect.time(untilMillis)}`],
    // There may be no other condition.
    "1 = 1"
  ])

/** The changes of a circuit, newest first. */
export const readHistory = (
  database: Database,
  circuit: string,
  { limit, ...range }: TimeRange & { readonly limit: number }
): Effect.Effect<ReadonlyArray<HistoryEntry>, SqlError | StorageError> => {
  const { sql, tables } = database
  return Effect.flatMap(
    sql<{ readonly entry: string }>`
SELECT entry FROM ${sql(tables.history)} WHERE ${within(database, range, circuit)}
ORDER BY created_at DESC, generation DESC LIMIT ${sql.literal(String(Math.max(0, Math.floor(limit))))}`,
    (rows) =>
      Effect.try({
        try: () => rows.map(({ entry }) => entryFrom(entry)),
        catch: (cause) => unreadable(tables.history, "entry", keyOf(circuit), cause)
      })
  )
}

/**
 * Milliseconds in each state. `changes` are those of the range, oldest first; `before` is the last one before the
 * range.
 */
export const millisInStates = (
  before: HistoryEntry | undefined,
  changes: ReadonlyArray<HistoryEntry>,
  { sinceMillis, untilMillis }: { readonly sinceMillis: number; readonly untilMillis: number }
): Readonly<Record<HistoryEntry["to"], number>> => {
  const spent = { Closed: 0, Open: 0, HalfOpen: 0 }
  let [state, atMillis] = [before?.to ?? changes[0]?.from ?? "Closed", sinceMillis]
  for (const { at, to } of changes) {
    spent[state] += at - atMillis
    state = to
    atMillis = at
  }
  spent[state] += Math.max(0, untilMillis - atMillis)
  return spent
}

/**
 * The mean time from leaving Closed to coming back, over changes with the oldest first; `undefined` where none came
 * back.
 */
export const meanMillisToRecover = (changes: ReadonlyArray<HistoryEntry>): number | undefined => {
  let [sum, count] = [0, 0]
  let leftAtMillis: number | undefined
  for (const { at, from, to } of changes) {
    if (from === "Closed" && to !== "Closed") leftAtMillis = at
    if (to !== "Closed" || leftAtMillis === undefined) continue
    sum += at - leftAtMillis
    count++
    leftAtMillis = undefined
  }
  return count === 0 ? undefined : sum / count
}
