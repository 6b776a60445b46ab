/** Reads circuits, their alerts and newest messages by one statement, so that all of it is of one moment. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { SqlError } from "effect/sql/SqlError"
import type { Alert, CircuitRecord, Message, Seen } from "../core/Record.ts"
import { decodeDocument } from "../Storage/Document.ts"
import type { StorageError } from "../Storage/Storage.ts"
import type { Database } from "./Database.ts"
import { unreadable } from "./DatabaseErrors.ts"
import { anyOf } from "./Dialect.ts"
import type { StripeRow } from "./Locks.ts"
import { keyOf } from "./NameColumns.ts"
import { stripeFrom, tokenOf } from "./Rows.ts"
import { recordOf, type Stripe, type Stripes } from "./Stripes.ts"

/** A circuit as it is stored: its record, the counts of its stripes included, and the stripes. */
export interface StoredCircuit {
  readonly record: CircuitRecord | undefined
  readonly stripes: Stripes
}

/** The newest message of an instance, and the key of the circuit that it was about. */
export interface SeenRow extends Seen {
  readonly key: string
}

export interface View {
  /** The storage's clock when the view was read. */
  readonly nowMillis: number
  /** Fails with `Invalid` for a circuit whose rows cannot be decoded. The others of the view are not affected. */
  readonly circuit: (key: string) => Effect.Effect<StoredCircuit, StorageError>
  /** The token of a stripe's row: `null` for one that was never written, `undefined` for none. */
  readonly token: (row: StripeRow) => string | null | undefined
  readonly seen: ReadonlyArray<SeenRow>
  /** How many instances report on each circuit that was to be counted. */
  readonly members: ReadonlyMap<string, number>
}

/** The instances whose newest message of this kind a view is to have. */
export interface SeenQuery {
  readonly kind: Message["kind"]
  readonly messages: ReadonlyArray<{ readonly key: string; readonly instance: string }>
}

/** The column `part` of a view's row: these, or the number of a stripe. */
const DOCUMENT = -1
const CLOCK = -2
const SEEN = -3
const BELL = -4
const MEMBERS = -5

/** `a` to `d` hold numbers, whose meaning depends on `part`. */
interface ViewRow {
  readonly service_name: string
  readonly part: unknown
  readonly data: string | null
  readonly a: unknown
  readonly b: unknown
  readonly c: unknown
  readonly d: unknown
}

/** An alert, the generation that it is of, and when it was last called for. */
interface StoredAlert extends Alert {
  readonly generation: number
  readonly updatedAt: number
}

/** The rows of one circuit, documents and stripes as text. */
interface CircuitRows {
  document: string | undefined
  alert: StoredAlert | undefined
  readonly stripes: Map<number, string | null>
}

const noRows = (): CircuitRows => ({ document: undefined, alert: undefined, stripes: new Map() })

const noMessages: SeenQuery = { kind: "report", messages: [] }

/** Reads circuits by their keys. */
export const readView = (
  database: Database,
  keys: ReadonlyArray<string>,
  { membersOf = [], seen: seenQuery = noMessages }: {
    readonly seen?: SeenQuery | undefined
    readonly membersOf?: ReadonlyArray<string>
  } = {}
): Effect.Effect<View, SqlError> => {
  const { dialect, sql, tables } = database
  const { kind, messages } = seenQuery
  const instances = messages.map(({ instance, key }) => ({ service_name: key, instance: keyOf(instance), kind }))
  const seen = messages.length === 0 ? sql.literal("") : sql`
UNION ALL SELECT service_name, ${sql.literal(String(SEEN))}, instance, sequence, heard_at, 0, 0
FROM ${sql(tables.instances)} WHERE ${anyOf(sql, instances)}`
  const members = membersOf.length === 0 ? sql.literal("") : sql`
UNION ALL SELECT service_name, ${sql.literal(String(MEMBERS))}, NULL, COUNT(*), 0, 0, 0
FROM ${sql(tables.instances)} WHERE ${sql.in("service_name", membersOf)} AND kind = 'report'
AND heard_at > ${sql.literal(dialect.clock)} - ${sql.literal(String(database.idleMillis))}
GROUP BY service_name`
  return Effect.map(
    sql<ViewRow>`
SELECT '' AS service_name, ${sql.literal(String(CLOCK))} AS part, NULL AS data, ${sql.literal(dialect.clock)} AS a,
0 AS b, 0 AS c, 0 AS d
UNION ALL SELECT service_name, ${sql.literal(String(DOCUMENT))}, document, 0, 0, 0, 0 FROM ${sql(tables.states)}
WHERE ${sql.in("service_name", keys)} AND document IS NOT NULL
UNION ALL SELECT service_name, stripe, delta, 0, 0, 0, 0 FROM ${sql(tables.counts)}
WHERE ${sql.in("service_name", keys)}
UNION ALL SELECT service_name, ${sql.literal(String(BELL))}, NULL, generation, called_at, alert_until, updated_at
FROM ${sql(tables.bells)} WHERE ${sql.in("service_name", keys)} AND alert_until IS NOT NULL${seen}${members}`,
    (rows) => viewOf(database, rows, seenQuery)
  )
}

/** The storage's clock. */
export const readNowMillis = (database: Database): Effect.Effect<number, SqlError> =>
  Effect.map(readView(database, [""]), ({ nowMillis }) => nowMillis)

const viewOf = (database: Database, rows: ReadonlyArray<ViewRow>, { kind, messages }: SeenQuery): View => {
  const circuits = new Map<string, CircuitRows>()
  const rowsOf = (key: string) => {
    const rows = circuits.get(key) ?? noRows()
    circuits.set(key, rows)
    return rows
  }
  const members = new Map<string, number>()
  const seen: Array<SeenRow> = []
  let nowMillis = Number.NaN
  for (const { a, b, c, d, data, part, service_name: key } of rows) {
    switch (Number(part)) {
      case CLOCK:
        nowMillis = Number(a)
        break
      case SEEN: {
        const message = messages.find((message) => message.key === key && keyOf(message.instance) === data)
        if (message !== undefined) seen.push({ ...message, kind, sequence: Number(a), at: Number(b) })
        break
      }
      case BELL:
        rowsOf(key).alert = { generation: Number(a), calledAt: Number(b), until: Number(c), updatedAt: Number(d) }
        break
      case MEMBERS:
        members.set(key, Number(a))
        break
      case DOCUMENT:
        rowsOf(key).document = data ?? undefined
        break
      default:
        rowsOf(key).stripes.set(Number(part), data)
    }
  }
  const circuit = (key: string) => decode(database, key, circuits.get(key) ?? noRows(), nowMillis)
  const token = ({ index, key }: StripeRow) => {
    const text = circuits.get(key)?.stripes.get(index)
    return typeof text === "string" ? tokenOf(text) : text
  }
  return { nowMillis, token, seen, members, circuit }
}

const decode = (
  { idleMillis, tables }: Database,
  key: string,
  { alert, document, stripes }: CircuitRows,
  nowMillis: number
): Effect.Effect<StoredCircuit, StorageError> =>
  Effect.gen(function*() {
    const base = document === undefined
      ? undefined
      : yield* Effect.mapError(
        decodeDocument(document),
        ({ cause }) => unreadable(tables.states, "document", key, cause)
      )
    const decoded = new Map<number, Stripe>()
    for (const [index, text] of stripes) {
      if (text === null) continue
      const stripe = Result.try({
        try: () => stripeFrom(text),
        catch: (cause) => unreadable(tables.counts, `delta of stripe ${index}`, key, cause)
      })
      if (Result.isFailure(stripe)) return yield* stripe.failure
      decoded.set(index, stripe.success)
    }
    const record = yield* Effect.try({
      try: () => recordOf(base?.record, decoded, nowMillis, idleMillis),
      catch: (cause) => unreadable(tables.states, "document", key, cause)
    })
    return { record: withAlert(record, alert, nowMillis), stripes: decoded }
  })

/** An alert that was written later than now is of a clock that was set back since: it would last until that time. */
const withAlert = (
  record: CircuitRecord | undefined,
  alert: StoredAlert | undefined,
  nowMillis: number
): CircuitRecord | undefined => {
  if (record === undefined || alert?.generation !== record.generation || alert.updatedAt > nowMillis) return record
  const { calledAt, until, updatedAt } = alert
  return { ...record, alert: { calledAt, until }, usedAt: Math.max(record.usedAt, updatedAt) }
}
