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
import type { Bucket } from "../core/Geometry.ts"
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

/** Circuits, and the storage's time at which they were read. */
export interface View {
  readonly now: number
  readonly circuits: (key: string) => Effect.Effect<Circuit, StorageError>
}

/** Which buckets of a circuit are asked for. */
export interface Span {
  readonly key: string
  readonly width: number
  readonly longest: number
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

  const read = (keys: ReadonlyArray<string>): Effect.Effect<View, SqlError> =>
    Effect.map(
      sql<{
        readonly service_name: string
        readonly part: unknown
        readonly data: string
        readonly clock: unknown
      }>`
SELECT '' AS service_name, -2 AS part, NULL AS data, ${sql.literal(dialect.clock)} AS clock
UNION ALL SELECT service_name, -1, document, NULL FROM ${sql(tables.states)}
WHERE ${sql.in("service_name", keys)} AND document IS NOT NULL
UNION ALL SELECT service_name, stripe, delta, NULL FROM ${sql(tables.counts)}
WHERE ${sql.in("service_name", keys)} AND delta IS NOT NULL`,
      (rows) => {
        let now = Number.NaN
        const found = new Map<string, { document: string | undefined; readonly stripes: Map<number, string> }>()
        for (const { clock, data, part, service_name } of rows) {
          if (Number(part) === -2) {
            now = Number(clock)
            continue
          }
          const stored = found.get(service_name) ?? { document: undefined, stripes: new Map<number, string>() }
          if (Number(part) === -1) stored.document = data
          else stored.stripes.set(Number(part), data)
          found.set(service_name, stored)
        }
        return { now, circuits: (key) => decode(found.get(key) ?? nothing, now, idleTimeToLive) }
      }
    )

  const windows = Effect.fnUntraced(function*(
    spans: ReadonlyArray<Span>,
    now: number
  ): Effect.fn.Return<ReadonlyMap<string, ReadonlyArray<Bucket>>, SqlError> {
    const found = new Map<string, Array<Bucket>>()
    for (const [width, group] of Map.groupBy(spans, ({ width }) => width)) {
      const longest = Math.max(...group.map(({ longest }) => longest))
      const keys = [...new Set(group.map(({ key }) => key))].toSorted()
      const rows = yield* sql<
        Readonly<Record<"bucket" | "success" | "failure" | "slow", unknown>> & {
          readonly service_name: string
        }
      >`
SELECT service_name, bucket, SUM(success_count) AS success, SUM(failure_count) AS failure, SUM(slow_count) AS slow
FROM ${sql(tables.windows)}
WHERE ${sql.in("service_name", keys)} AND width = ${width} AND bucket >= ${Math.floor((now - longest) / width) - 1}
GROUP BY service_name, bucket`
      for (const { bucket, failure, service_name, slow, success } of rows) {
        const buckets = found.get(service_name) ?? []
        buckets.push({
          width,
          index: Number(bucket),
          success: Number(success),
          failure: Number(failure),
          slow: Number(slow)
        })
        found.set(service_name, buckets)
      }
    }
    return found
  })

  /** What was heard last of these instances. */
  const seen = (
    messages: ReadonlyArray<Pick<Message, "instance" | "kind"> & { readonly key: string }>
  ): Effect.Effect<ReadonlyArray<Seen & { readonly key: string }>, SqlError> =>
    Effect.map(
      sql<
        Readonly<Record<"service_name" | "instance" | "kind", string>> & {
          readonly sequence: unknown
          readonly heard_at: unknown
        }
      >`
SELECT service_name, instance, kind, sequence, heard_at FROM ${sql(tables.instances)}
WHERE ${
        anyOf(
          sql,
          messages.map(({ instance, key, kind }) => ({ service_name: key, instance: keyOf(instance), kind }))
        )
      }`,
      (rows) =>
        rows.flatMap((row) => {
          const message = messages.find(({ instance, key, kind }) =>
            key === row.service_name && kind === row.kind && keyOf(instance) === row.instance
          )
          return message === undefined
            ? []
            : [{ ...message, sequence: Number(row.sequence), at: Number(row.heard_at) }]
        })
    )

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

  const heard = Effect.fnUntraced(function*(
    entries: ReadonlyArray<Seen & { readonly key: string }>
  ): Effect.fn.Return<void, SqlError> {
    const values = { sequence: dialect.inserted("sequence"), heard_at: dialect.inserted("heard_at") }
    for (const chunk of chunked(entries.map((entry) => heardRow(entry.key, entry, keyOf)))) {
      yield* sql`INSERT INTO ${sql(tables.instances)} ${sql.insert([...chunk])} ${
        sql.literal(dialect.upsert(["service_name", "instance", "kind"], values))
      }`
    }
  })

  /** Writes what reports have changed, by who holds the stripes. */
  const count = Effect.fnUntraced(function*(
    stripes: ReadonlyArray<StripeRow & { readonly stripe: Stripe }>,
    entries: ReadonlyArray<Seen & { readonly key: string }>,
    buckets: ReadonlyArray<WindowRow>
  ): Effect.fn.Return<void, SqlError> {
    const counts = stripes.map(({ index, key, stripe }) => ({
      service_name: key,
      stripe: index,
      delta: stripeText(stripe)
    }))
    for (const chunk of chunked(counts)) {
      yield* sql`INSERT INTO ${sql(tables.counts)} ${sql.insert([...chunk])} ${
        sql.literal(dialect.upsert(["service_name", "stripe"], { delta: dialect.inserted("delta") }))
      }`
    }
    yield* heard(entries)
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
    for (const chunk of chunked(rows)) {
      yield* sql`INSERT INTO ${sql(tables.windows)} ${sql.insert([...chunk])} ${
        sql.literal(dialect.upsert(["service_name", "width", "slot", "stripe"], values))
      }`
    }
  })

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
    yield* heard(options.heard.map((entry) => ({ ...entry, key })))
    if (options.entry !== undefined && options.history) {
      const { before, row } = options.entry
      yield* sql`INSERT INTO ${sql(tables.history)} ${sql.insert(historyRow(key, row, before, dialect))}`
    }
  })

  return { read, windows, seen, lockStripes, lock, create, forget, count, write }
}
