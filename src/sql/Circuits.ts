/**
 * The statements on circuits: what is read together, what is locked in which order, and what is written.
 *
 * Who reports holds the row of the one stripe that its instance reports to; who changes a circuit holds the circuit's row and
 * all of its stripes. So those who report wait for each other little, and for a change they have seen all of it or nothing.
 * Rows of counts, windows and instances are written only by who holds their stripe, and need no lock of their own. All lock in
 * one order: circuits by their names, a circuit's row before its stripes, these by their numbers.
 */
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Statement } from "effect/sql/Statement"
import type { Bucket } from "../core/Buckets.ts"
import { type CircuitRecord, expired, type Message, type Seen } from "../core/Record.ts"
import { decodeDocument, encodeDocument } from "../Storage/Document.ts"
import { type HistoryEntry, StorageError } from "../Storage/Storage.ts"
import { anyOf, type Dialect } from "./Dialect.ts"
import { fullNameOf, keyOf } from "./Names.ts"
import { columnsOf, heardRow, historyRow, type Stored, stripesFrom, stripeText } from "./Rows.ts"
import type { Tables } from "./Schema.ts"
import { recordOf, type Stripe, type Stripes } from "./Stripes.ts"

/** A circuit as it is: the record, with what its stripes hold but without a window, and these. */
export interface Circuit {
  readonly record: CircuitRecord | undefined
  readonly stripes: Stripes
}

/** What was read, and the storage's time at which it was. */
export interface View {
  readonly now: number
  readonly circuits: (key: string) => Effect.Effect<Circuit, StorageError>
  readonly windows: ReadonlyMap<string, ReadonlyArray<Bucket>>
  readonly seen: ReadonlyArray<Seen & { readonly key: string }>
}

/** Over what the buckets of a width are asked for, of which circuits. */
export interface Span {
  readonly width: number
  readonly longest: number
  readonly keys: ReadonlyArray<string>
}

/** Messages of one kind, of whose instances it is asked what was heard last. */
export interface Heard {
  readonly kind: Message["kind"]
  readonly messages: ReadonlyArray<{ readonly key: string; readonly instance: string }>
}

/** What a row of a view is about: a stripe has its number, a bucket its width below zero. */
const DOCUMENT = -1
const CLOCK = -2
const SEEN = -3

interface Row {
  readonly service_name: string
  readonly part: unknown
  readonly data: string | null
  readonly a: unknown
  readonly b: unknown
  readonly c: unknown
  readonly d: unknown
}

export interface StripeRow {
  readonly key: string
  readonly index: number
}

export interface WindowRow extends Bucket, StripeRow {
  readonly index: number
  readonly stripe: number
}

/** A ring, longer than any window: who comes round finds a bucket that is too old to count. */
const SLOTS = 64

/** Rows of one `INSERT`, whose parameters databases limit. */
const MOST_ROWS = 500

const nothing: Stored = { document: undefined, stripes: new Map() }

const invalid = (cause: unknown) => new StorageError({ operation: "decode", reason: "Invalid", cause })

const decode = (
  { document, stripes }: Stored,
  now: number,
  idleTimeToLive: number
): Effect.Effect<Circuit, StorageError> =>
  Effect.flatMap(
    document === undefined ? Effect.undefined : Effect.map(decodeDocument(document), ({ record }) => record),
    (base) =>
      Effect.try({
        try: () => {
          const counted = stripesFrom({ document, stripes })
          return { record: recordOf(base, counted, now, idleTimeToLive), stripes: counted }
        },
        catch: invalid
      })
  )

const chunked = <A>(rows: ReadonlyArray<A>): ReadonlyArray<readonly [A, ...ReadonlyArray<A>]> => {
  const chunks: Array<readonly [A, ...ReadonlyArray<A>]> = []
  for (let i = 0; i < rows.length; i += MOST_ROWS) {
    const [first, ...others] = rows.slice(i, i + MOST_ROWS)
    if (first !== undefined) chunks.push([first, ...others])
  }
  return chunks
}

export type Circuits = ReturnType<typeof circuitsIn>

export const circuitsIn = (sql: SqlClient, dialect: Dialect, tables: Tables, idleTimeToLive: number) => {
  const forUpdate = sql.literal(dialect.forUpdate)

  const viewOf = (rows: ReadonlyArray<Row>, { kind, messages }: Heard): View => {
    const stored = new Map<string, { document: string | undefined; readonly stripes: Map<number, string> }>()
    const windows = new Map<string, Array<Bucket>>()
    const seen: Array<Seen & { readonly key: string }> = []
    let now = Number.NaN
    for (const { a, b, c, d, data, part, service_name: key } of rows) {
      switch (Number(part)) {
        case CLOCK:
          now = Number(a)
          break
        case SEEN: {
          const message = messages.find((message) => message.key === key && keyOf(message.instance) === data)
          if (message !== undefined) seen.push({ ...message, kind, sequence: Number(a), at: Number(b) })
          break
        }
        default: {
          if (data === null) {
            const bucket = { index: Number(a), success: Number(b), failure: Number(c), slow: Number(d) }
            windows.set(key, [...windows.get(key) ?? [], { width: -Number(part), ...bucket }])
            break
          }
          const circuit = stored.get(key) ?? { document: undefined, stripes: new Map<number, string>() }
          if (Number(part) === DOCUMENT) circuit.document = data
          else circuit.stripes.set(Number(part), data)
          stored.set(key, circuit)
        }
      }
    }
    return {
      now,
      windows,
      seen,
      circuits: (key) => decode(stored.get(key) ?? nothing, now, idleTimeToLive)
    }
  }

  /** All that is known of circuits, by one statement: as of one moment. */
  const read = (
    keys: ReadonlyArray<string>,
    spans: ReadonlyArray<Span> = [],
    { kind, messages }: Heard = { kind: "report", messages: [] }
  ): Effect.Effect<View, SqlError> => {
    const windows = spans.map(({ keys, longest, width }) =>
      sql`
UNION ALL SELECT service_name, ${sql.literal(String(-width))}, NULL, bucket,
SUM(success_count), SUM(failure_count), SUM(slow_count)
FROM ${sql(tables.windows)} WHERE ${sql.in("service_name", keys)} AND width = ${sql.literal(String(width))}
AND bucket >= (${sql.literal(dialect.clock)} - ${sql.literal(String(longest))}) / ${sql.literal(String(width))} - 1
GROUP BY service_name, bucket`
    )
    const instances = messages.map(({ instance, key }) => ({ service_name: key, instance: keyOf(instance), kind }))
    const seen = messages.length === 0 ? sql.literal("") : sql`
UNION ALL SELECT service_name, ${sql.literal(String(SEEN))}, instance, sequence, heard_at, 0, 0
FROM ${sql(tables.instances)} WHERE ${anyOf(sql, instances)}`
    return Effect.map(
      sql<Row>`
SELECT '' AS service_name, ${sql.literal(String(CLOCK))} AS part, NULL AS data, ${sql.literal(dialect.clock)} AS a,
0 AS b, 0 AS c, 0 AS d
UNION ALL SELECT service_name, ${sql.literal(String(DOCUMENT))}, document, 0, 0, 0, 0 FROM ${sql(tables.states)}
WHERE ${sql.in("service_name", keys)} AND document IS NOT NULL
UNION ALL SELECT service_name, stripe, delta, 0, 0, 0, 0 FROM ${sql(tables.counts)}
WHERE ${sql.in("service_name", keys)} AND delta IS NOT NULL${sql.join("", false)(windows)}${seen}`,
      (rows) => viewOf(rows, { kind, messages })
    )
  }

  /** Holds the rows of these stripes, and says which there are. */
  const lockStripes = (rows: ReadonlyArray<StripeRow>): Effect.Effect<ReadonlyArray<StripeRow>, SqlError> =>
    Effect.map(
      sql<{ readonly service_name: string; readonly stripe: unknown }>`
SELECT service_name, stripe FROM ${sql(tables.counts)}
WHERE ${anyOf(sql, rows.map(({ index, key }) => ({ service_name: key, stripe: index })))}
ORDER BY service_name, stripe ${forUpdate}`,
      (found) => found.map(({ service_name, stripe }) => ({ key: service_name, index: Number(stripe) }))
    )

  /** Holds all of a circuit, if it has rows. */
  const lock = (key: string): Effect.Effect<boolean, SqlError> =>
    Effect.flatMap(
      sql`SELECT service_name FROM ${sql(tables.states)} WHERE service_name = ${key} ${forUpdate}`,
      ([row]) =>
        row === undefined ? Effect.succeed(false) : Effect.as(
          sql`SELECT stripe FROM ${sql(tables.counts)} WHERE service_name = ${key} ORDER BY stripe ${forUpdate}`,
          true
        )
    )

  /** Makes rows for circuits that have none. They say nothing: there is no record yet. */
  const create = Effect.fnUntraced(function*(names: ReadonlyArray<string>): Effect.fn.Return<void, SqlError> {
    const { now } = yield* read([""])
    const sorted = names.map((name) => ({ name, key: keyOf(name) })).toSorted((a, b) => a.key < b.key ? -1 : 1)
    for (const chunk of chunked(sorted)) {
      const [first, ...others] = chunk.map(({ key, name }) => ({
        service_name: key,
        full_name: fullNameOf(name),
        expires_at: dialect.time(now + idleTimeToLive)
      }))
      yield* sql`INSERT INTO ${sql(tables.states)} ${sql.insert([first!, ...others])} ${
        sql.literal(dialect.upsert(["service_name"], {}))
      }`
    }
    const stripes = sorted.flatMap(({ key }) =>
      Array.from({ length: dialect.stripes }, (_, stripe) => ({ service_name: key, stripe }))
    )
    for (const chunk of chunked(stripes)) {
      yield* sql`INSERT INTO ${sql(tables.counts)} ${sql.insert([...chunk])} ${
        sql.literal(dialect.upsert(["service_name", "stripe"], {}))
      }`
    }
  })

  const clearWindow = (key: string) => sql`DELETE FROM ${sql(tables.windows)} WHERE service_name = ${key}`

  /** Deletes a circuit that has expired. The caller holds it in no way. Says whether it is gone. */
  const forget = Effect.fnUntraced(function*(key: string): Effect.fn.Return<boolean, SqlError | StorageError> {
    if (!(yield* lock(key))) return true
    const { circuits, now } = yield* read([key])
    const { record } = yield* circuits(key)
    if (record !== undefined && !expired(record, idleTimeToLive, now)) {
      const { expires_at } = columnsOf(record, dialect, now, idleTimeToLive)
      yield* sql`UPDATE ${sql(tables.states)} SET expires_at = ${expires_at} WHERE service_name = ${key}`
      return false
    }
    yield* clearWindow(key)
    yield* sql`DELETE FROM ${sql(tables.counts)} WHERE service_name = ${key}`
    yield* sql`DELETE FROM ${sql(tables.states)} WHERE service_name = ${key}`
    return true
  })

  const heard = (entries: ReadonlyArray<Seen & { readonly key: string }>): ReadonlyArray<Statement<Row>> => {
    const values = { sequence: dialect.inserted("sequence"), heard_at: dialect.inserted("heard_at") }
    const upsert = sql.literal(dialect.upsert(["service_name", "instance", "kind"], values))
    return chunked(entries.map((entry) => heardRow(entry.key, entry, keyOf))).map((rows) =>
      sql<Row>`INSERT INTO ${sql(tables.instances)} ${sql.insert([...rows])} ${upsert}`
    )
  }

  /** Writes what reports have changed, by who holds the stripes. */
  const count = (
    stripes: ReadonlyArray<StripeRow & { readonly stripe: Stripe }>,
    entries: ReadonlyArray<Seen & { readonly key: string }>,
    buckets: ReadonlyArray<WindowRow>
  ): Effect.Effect<void, SqlError> => {
    const counts = stripes.map(({ index, key, stripe }) => ({
      service_name: key,
      stripe: index,
      delta: stripeText(stripe)
    }))
    const replace = sql.literal(dialect.upsert(["service_name", "stripe"], { delta: dialect.inserted("delta") }))
    const { inserted, stored } = dialect
    const added = (column: string) =>
      `CASE WHEN ${stored(tables.windows, "bucket")} = ${inserted("bucket")} THEN ${
        stored(tables.windows, column)
      } ELSE 0 END + ${inserted(column)}`
    // MySQL assigns one after the other: what the others compare with comes last.
    const values = {
      success_count: added("success_count"),
      failure_count: added("failure_count"),
      slow_count: added("slow_count"),
      bucket: inserted("bucket")
    }
    const add = sql.literal(dialect.upsert(["service_name", "width", "slot", "stripe"], values))
    const rows = buckets.map(({ failure, index, key, slow, stripe, success, width }) => ({
      service_name: key,
      width,
      slot: index % SLOTS,
      stripe,
      bucket: index,
      success_count: success,
      failure_count: failure,
      slow_count: slow
    }))
    const statements = [
      ...chunked(counts).map((some) => sql<Row>`INSERT INTO ${sql(tables.counts)} ${sql.insert([...some])} ${replace}`),
      ...heard(entries),
      ...chunked(rows).map((some) => sql<Row>`INSERT INTO ${sql(tables.windows)} ${sql.insert([...some])} ${add}`)
    ]
    const [first, second, third, ...more] = statements
    // Each is a round trip, through which others wait for the stripe.
    return dialect.backend === "postgres" && first !== undefined && second !== undefined && more.length === 0
      ? Effect.asVoid(
        third === undefined
          ? sql`WITH counted AS (${first}) ${second}`
          : sql`WITH counted AS (${first}), heard AS (${second}) ${third}`
      )
      : Effect.forEach(statements, (statement) => statement, { discard: true })
  }

  /** Writes what a change has made of a circuit, by who holds it. All that was counted beside the record goes into it. */
  const write = Effect.fnUntraced(function*(
    key: string,
    next: CircuitRecord,
    options: {
      readonly now: number
      readonly isNew: boolean
      readonly heard: ReadonlyArray<Seen>
      readonly entry: { readonly row: HistoryEntry; readonly before: CircuitRecord | undefined } | undefined
      readonly history: boolean
    }
  ): Effect.fn.Return<void, SqlError | StorageError> {
    const document = yield* encodeDocument({ record: { ...next, window: [], seen: [] }, history: [] })
    const columns = columnsOf(next, dialect, options.now, idleTimeToLive)
    yield* sql`UPDATE ${sql(tables.states)} SET ${sql.update({ ...columns, document })} WHERE service_name = ${key}`
    yield* sql`UPDATE ${sql(tables.counts)} SET delta = NULL WHERE service_name = ${key} AND delta IS NOT NULL`
    if (options.isNew || options.entry !== undefined) yield* clearWindow(key)
    yield* Effect.forEach(heard(options.heard.map((entry) => ({ ...entry, key }))), (statement) => statement)
    if (options.entry !== undefined && options.history) {
      const { before, row } = options.entry
      yield* sql`INSERT INTO ${sql(tables.history)} ${sql.insert(historyRow(key, row, before, dialect))}`
    }
  })

  return { read, lockStripes, lock, create, forget, count, write }
}
