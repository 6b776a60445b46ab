/** Writes circuits. Who must hold which rows is in `Locks.ts`. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { SqlError } from "effect/sql/SqlError"
import type { Statement } from "effect/sql/Statement"
import { type CircuitRecord, expired, type Seen } from "../core/Record.ts"
import { newId } from "../internal/Ids.ts"
import { failure } from "../internal/StorageErrors.ts"
import { encodeDocument } from "../Storage/Document.ts"
import type { HistoryEntry, StorageError } from "../Storage/Storage.ts"
import { added, additionColumns, additionRow } from "./Additions.ts"
import type { Database } from "./Database.ts"
import { lockCircuits, type StripeRow } from "./Locks.ts"
import { fullNameOf, keyOf } from "./NameColumns.ts"
import { historyRow, instanceRow, stateColumns, stripeText, tokenIn } from "./Rows.ts"
import { type Addition, emptied, type Stripe } from "./Stripes.ts"
import { readNowMillis, readView, type SeenRow, type View } from "./View.ts"

/** A stripe with a report added, and what the report adds to it where others have reported to it meanwhile. */
interface CountedStripe extends StripeRow {
  readonly stripe: () => Stripe
  readonly addition?: Addition | undefined
}

/** Everything that a batch of reports changes. */
export interface Counted {
  readonly stripes: ReadonlyArray<CountedStripe>
  readonly seen: ReadonlyArray<SeenRow>
}

/** Everything that a change of one circuit writes. */
export interface Written {
  readonly record: CircuitRecord
  readonly seen: ReadonlyArray<Seen>
  /** The change's entry in the history, with the record before it. */
  readonly entry: { readonly entry: HistoryEntry; readonly before: CircuitRecord | undefined } | undefined
}

/** Rows of one `INSERT`: databases limit the parameters of a statement. */
const MOST_ROWS = 500

const chunked = <A>(rows: ReadonlyArray<A>): ReadonlyArray<readonly [A, ...ReadonlyArray<A>]> => {
  const chunks: Array<readonly [A, ...ReadonlyArray<A>]> = []
  for (let i = 0; i < rows.length; i += MOST_ROWS) {
    const [first, ...others] = rows.slice(i, i + MOST_ROWS)
    if (first !== undefined) chunks.push([first, ...others])
  }
  return chunks
}

/** `INSERT`s of these rows; `values` are the columns to update where a row with the same keys exists. */
export const upserts = (
  { dialect, sql }: Database,
  table: string,
  rows: ReadonlyArray<Record<string, unknown>>,
  keys: ReadonlyArray<string>,
  values: Readonly<Record<string, string>> = {}
): ReadonlyArray<Statement<object>> => {
  const upsert = sql.literal(dialect.upsert(keys, values))
  return chunked(rows).map((chunk) => sql<object>`INSERT INTO ${sql(table)} ${sql.insert([...chunk])} ${upsert}`)
}

const runAll = (statements: ReadonlyArray<Statement<object>>): Effect.Effect<void, SqlError> =>
  Effect.forEach(statements, (statement) => statement, { discard: true })

/** Makes the rows of circuits that have none. They hold no record yet, so the circuits stay Closed at generation 0. */
export const createCircuits = (
  database: Database,
  names: ReadonlyArray<string>
): Effect.Effect<void, SqlError> =>
  Effect.gen(function*() {
    const { dialect, idleMillis, sql, tables } = database
    const nowMillis = yield* readNowMillis(database)
    const sorted = names.map((name) => ({ name, key: keyOf(name) })).toSorted((a, b) => a.key < b.key ? -1 : 1)
    const states = sorted.map(({ key, name }) => ({
      service_name: key,
      full_name: fullNameOf(name),
      expires_at: dialect.time(nowMillis + idleMillis)
    }))
    const stripes = sorted.flatMap(({ key }) =>
      Array.from({ length: dialect.stripes }, (_, stripe) => ({ service_name: key, stripe }))
    )
    // A bell without its circuit is of rows that somebody deleted. Its generation would be newer than that of the new circuit.
    yield* sql`
DELETE FROM ${sql(tables.bells)} WHERE ${sql.in("service_name", sorted.map(({ key }) => key))}
AND NOT EXISTS (SELECT 1 FROM ${sql(tables.states)} AS states WHERE states.service_name = ${
      sql(tables.bells)
    }.service_name)`
    yield* runAll(upserts(database, tables.states, states, ["service_name"]))
    yield* runAll(upserts(database, tables.counts, stripes, ["service_name", "stripe"]))
  })

const deleteOf = ({ sql }: Database, table: string, keys: ReadonlyArray<string>) =>
  sql`DELETE FROM ${sql(table)} WHERE ${sql.in("service_name", keys)}`

/**
 * Deletes those of these circuits that have expired, and returns how many there were. It takes the locks itself.
 * Circuits that cannot be decoded are left for an operator.
 */
export const forgetExpired = (
  database: Database,
  keys: ReadonlyArray<string>
): Effect.Effect<number, SqlError> =>
  Effect.gen(function*() {
    const { dialect, idleMillis, sql, tables } = database
    const found = yield* lockCircuits(database, keys)
    if (found.length === 0) return 0
    const { circuit, nowMillis } = yield* readView(database, found)
    const gone: Array<string> = []
    for (const key of found) {
      const stored = yield* Effect.result(circuit(key))
      if (Result.isFailure(stored)) continue
      const { record } = stored.success
      if (record === undefined || expired(record, idleMillis, nowMillis)) {
        gone.push(key)
        continue
      }
      // Reports since the last change have kept it alive.
      const { expires_at } = stateColumns(record, dialect, nowMillis, idleMillis)
      yield* sql`UPDATE ${sql(tables.states)} SET expires_at = ${expires_at} WHERE service_name = ${key}`
    }
    if (gone.length === 0) return 0
    yield* deleteOf(database, tables.counts, gone)
    yield* deleteOf(database, tables.bells, gone)
    yield* deleteOf(database, tables.states, gone)
    return gone.length
  })

const seenUpserts = (database: Database, seen: ReadonlyArray<SeenRow>): ReadonlyArray<Statement<object>> => {
  const { dialect: { inserted }, tables } = database
  const rows = seen.map((message) => instanceRow(message.key, message))
  const values = { sequence: inserted("sequence"), heard_at: inserted("heard_at") }
  return upserts(database, tables.instances, rows, ["service_name", "instance", "kind"], values)
}

/** The text of a stripe. Fails with `Invalid` for a stripe that could not be decoded again, so that it is never written. */
const textOf = ({ key, stripe }: CountedStripe, id: string) =>
  Effect.try({
    try: () => stripeText(stripe(), id),
    catch: (cause) => failure({ operation: "encode", circuit: key }, "Invalid", cause)
  })

/** Writes a batch of reports. The caller holds the stripes. */
export const writeCounted = (
  database: Database,
  { seen, stripes }: Counted
): Effect.Effect<void, SqlError | StorageError> =>
  Effect.gen(function*() {
    const { dialect, sql, tables } = database
    const replace = { delta: dialect.inserted("delta") }
    const id = newId()
    const rows = yield* Effect.forEach(stripes, (counted) =>
      Effect.map(textOf(counted, id), (delta) => ({ service_name: counted.key, stripe: counted.index, delta })))
    const statements = [
      ...upserts(database, tables.counts, rows, ["service_name", "stripe"], replace),
      ...seenUpserts(database, seen)
    ]
    const [counted, heard, ...more] = statements
    if (dialect.backend !== "postgres" || counted === undefined || heard === undefined || more.length > 0) {
      return yield* runAll(statements)
    }
    // Each statement is a round trip, during which other reports wait for the stripe. Postgres takes both as one.
    yield* sql`WITH counted AS (${counted}) ${heard}`
  })

/** The reports as a parameter of a statement. */
const givenOf = ({ seen, stripes }: Counted, tokenOf: View["token"], adds: (key: string) => boolean) => {
  const id = newId()
  const messages = new Map(seen.map((message) => [message.key, message]))
  return Effect.forEach(stripes, (counted): Effect.Effect<object, StorageError> => {
    const { addition, index, key } = counted
    const row = { ...instanceRow(key, messages.get(key)!), stripe: index, id }
    return addition !== undefined && adds(key)
      ? Effect.succeed({ ...row, ...additionRow(addition) })
      : Effect.map(textOf(counted, id), (delta) => ({ ...row, delta, token: tokenOf(counted) }))
  })
}

/**
 * Writes reports whose stripes are not held, and returns the stripes that it has written: those that nobody has written since the
 * view was read, and those of `adds`, to which the database adds the report. It is one statement. With `waits` it waits for stripes
 * that another transaction holds, and without leaves them out. Each circuit comes once. For Postgres.
 */
export const writeUnlocked = (
  { sql, tables }: Database,
  counted: Counted,
  tokenOf: View["token"],
  { adds, waits }: { readonly adds: (key: string) => boolean; readonly waits: boolean }
): Effect.Effect<ReadonlyArray<StripeRow>, SqlError | StorageError> =>
  Effect.gen(function*() {
    const given = yield* givenOf(counted, tokenOf, adds)
    if (given.length === 0) return []
    const counts = sql(tables.counts)
    // One parameter, so that the statement is prepared once for batches of any size.
    const found = yield* sql<{ readonly service_name: string; readonly stripe: number }>`
WITH given AS (
SELECT * FROM json_to_recordset(${
      JSON.stringify(given)
    }::json) AS given (service_name text COLLATE "C", stripe smallint,
token text, delta text, id text, instance text, kind text, sequence bigint, heard_at float8, ${
      sql.literal(additionColumns)
    })
), held AS (
SELECT given.*, counts.delta AS stored FROM given JOIN ${counts} AS counts USING (service_name, stripe)
WHERE base IS NOT NULL OR ${sql.literal(tokenIn("counts.delta"))} IS NOT DISTINCT FROM token
ORDER BY service_name, stripe FOR UPDATE OF counts ${sql.literal(waits ? "" : "SKIP LOCKED")}
), ${sql.literal(added)}, written AS (
SELECT service_name, stripe, delta, instance, kind, sequence, heard_at FROM held WHERE base IS NULL
UNION ALL SELECT service_name, stripe, delta, instance, kind, sequence, heard_at FROM added
), heard AS (
INSERT INTO ${sql(tables.instances)} AS instances (service_name, instance, kind, sequence, heard_at)
SELECT service_name, instance, kind, sequence, heard_at FROM written
ON CONFLICT (service_name, instance, kind) DO UPDATE SET sequence = excluded.sequence, heard_at = excluded.heard_at
-- The same report may have come by another connection since the view was read.
WHERE instances.sequence < excluded.sequence RETURNING service_name
), counted AS (
UPDATE ${counts} AS counts SET delta = written.delta FROM written JOIN heard USING (service_name)
WHERE counts.service_name = written.service_name AND counts.stripe = written.stripe
) SELECT service_name, stripe FROM written JOIN heard USING (service_name)`
    return found.map(({ service_name, stripe }) => ({ key: service_name, index: stripe }))
  })

/**
 * Writes a change of a circuit. The caller holds it. The record includes all that its stripes counted, so they are
 * emptied.
 */
export const writeChange = (
  database: Database,
  key: string,
  { entry, record, seen }: Written,
  { keepsHistory, nowMillis }: { readonly nowMillis: number; readonly keepsHistory: boolean }
): Effect.Effect<void, SqlError | StorageError> =>
  Effect.gen(function*() {
    const { dialect, idleMillis, sql, tables } = database
    // Messages and alerts have tables of their own, and so has the history.
    const { alert: _, ...kept } = record
    const document = yield* encodeDocument({ record: { ...kept, seen: [] }, history: [] })
    const columns = stateColumns(record, dialect, nowMillis, idleMillis)
    yield* sql`UPDATE ${sql(tables.states)} SET ${sql.update({ ...columns, document })} WHERE service_name = ${key}`
    const delta = stripeText(emptied(nowMillis), newId())
    yield* sql`UPDATE ${sql(tables.counts)} SET ${sql.update({ delta })} WHERE service_name = ${key}`
    yield* runAll(seenUpserts(database, seen.map((message) => ({ ...message, key }))))
    if (entry !== undefined && keepsHistory) {
      const row = historyRow(key, entry.entry, entry.before, dialect)
      yield* sql`INSERT INTO ${sql(tables.history)} ${sql.insert(row)}`
    }
  })
