/**
 * The bells: for each circuit, when it last got a new generation or an alert, and the alert. A poll reads by an index what rang.
 *
 * **Invariants**
 *
 * - An alert is of the generation that its row names. A circuit of another generation has none.
 * - A change rings in its own transaction, while it holds its circuit. A call is a transaction of its own that holds nothing
 *   else, so no report waits for it. It changes nothing in a row of a newer generation.
 * - An alert begins with the report that calls for it, and rings when that is counted. So a poll that asks for the time since
 *   the last one hears of it, however long it takes to count a batch.
 */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { StorageMillis } from "../core/Time.ts"
import { newId } from "../internal/Ids.ts"
import type { Bells, StorageError } from "../Storage/Storage.ts"
import { type Announcer, announcing } from "./Announcements.ts"
import type { Database } from "./Database.ts"
import { vanished } from "./DatabaseErrors.ts"
import { nameOf } from "./NameColumns.ts"
import { readNowMillis } from "./View.ts"
import { upserts } from "./Write.ts"

/** A poll about a longer time is answered with `all`. */
const BELL_MILLIS = 60_000

/** Transactions at the same time may be written in another order than they read the clock. */
const OUT_OF_ORDER_MILLIS = 1000

/** How many circuits a poll tells one by one. */
const MOST_RUNG = 1000

/** An instance suspects that a circuit trips, and calls for the counts of all. */
export interface Call {
  readonly circuit: string
  readonly key: string
  readonly generation: number
  /** The storage's clock as of the report. */
  readonly at: StorageMillis
  readonly until: StorageMillis
}

/** Rings for a change. The caller holds the circuit. */
export const ring = (
  { dialect: { inserted, upsert }, sql, tables }: Database,
  key: string,
  generation: number,
  nowMillis: StorageMillis
): Effect.Effect<unknown, SqlError> => {
  const row = { generation, rung_at: nowMillis, called_at: null, alert_until: null, updated_at: nowMillis }
  const values = Object.fromEntries(Object.keys(row).map((column) => [column, inserted(column)]))
  return sql`INSERT INTO ${sql(tables.bells)} ${sql.insert({ service_name: key, ...row })} ${
    sql.literal(upsert(["service_name"], values))
  }`
}

/**
 * Begins alerts, and makes those longer that run. In Postgres, the one database that announces, it returns the calls that
 * began one.
 */
const write = (
  database: Database,
  calls: ReadonlyArray<Call>,
  nowMillis: StorageMillis
): Effect.Effect<ReadonlyArray<Call>, SqlError> => {
  const { dialect, sql, tables } = database
  const rows = calls.map(({ at, generation, key, until }) => ({
    service_name: key,
    generation,
    rung_at: nowMillis,
    called_at: at,
    alert_until: until,
    updated_at: nowMillis
  }))
  const { inserted } = dialect
  const stored = (column: string) => dialect.stored(tables.bells, column)
  const isNewer = `${stored("generation")} > ${inserted("generation")}`
  // A row that was written much later than now is of a clock that was set back since.
  const runs = `${stored("generation")} = ${inserted("generation")} AND ${stored("alert_until")} > ${
    inserted("called_at")
  } AND ${stored("updated_at")} <= ${inserted("updated_at")} + ${OUT_OF_ORDER_MILLIS}`
  const unless = (condition: string, column: string) =>
    `CASE WHEN ${condition} THEN ${stored(column)} ELSE ${inserted(column)} END`
  const isLonger = `${runs} AND ${stored("alert_until")} > ${inserted("alert_until")}`
  // MySQL assigns one column after the other, so those that others are compared with come last.
  const values = {
    rung_at: unless(`${isNewer} OR ${runs}`, "rung_at"),
    called_at: unless(`${isNewer} OR ${runs}`, "called_at"),
    alert_until: unless(`${isNewer} OR ${isLonger}`, "alert_until"),
    updated_at: unless(isNewer, "updated_at"),
    generation: unless(isNewer, "generation")
  }
  // One statement, because a batch has fewer circuits than an `INSERT` has rows.
  const insert = sql.join("", false)(upserts(database, tables.bells, rows, ["service_name"], values))
  if (dialect.backend !== "postgres") return Effect.as(sql`${insert}`, [])
  return Effect.map(
    sql<{ readonly service_name: string; readonly called_at: unknown }>`${insert} RETURNING service_name, called_at`,
    (written) =>
      calls.filter(({ at, key }) =>
        written.some(({ called_at, service_name }) => service_name === key && Number(called_at) === at)
      )
  )
}

/** Each circuit once, with the longest alert that is called for, in the order in which all lock them. */
const eachOnce = (calls: ReadonlyArray<Call>): ReadonlyArray<Call> =>
  [...Map.groupBy(calls, ({ key }) => key).values()]
    .map((group) => group.reduce((longest, call) => call.until > longest.until ? call : longest))
    .toSorted((a, b) => a.key < b.key ? -1 : 1)

/** Calls for the counts of all, and announces the alerts that begin. */
export const callAll = (
  database: Database,
  announcer: Announcer,
  calls: readonly [Call, ...ReadonlyArray<Call>]
): Effect.Effect<void, SqlError | StorageError> =>
  announcing(database, announcer, calls[0].circuit, (announces) =>
    Effect.gen(function*() {
      const nowMillis = yield* readNowMillis(database)
      const begun = yield* write(database, eachOnce(calls), nowMillis)
      for (const { at, circuit, generation, until } of announces ? begun : []) {
        const alert = { remaining: Math.max(0, until - nowMillis), since: Math.max(0, nowMillis - at) }
        yield* announcer.announce(database, circuit, generation, alert)
      }
    }))

interface BellRow {
  readonly service_name: string
  readonly full_name: string | null
  /** `null` where the data have none yet, and in the rows of circuits. */
  readonly epoch: string | null
  /** Of a circuit the generation, when it was called and until when; else `null`, the clock, and when a circuit rang last. */
  readonly a: unknown
  readonly b: unknown
  readonly c: unknown
}

const readRows = (
  { dialect, sql, tables }: Database,
  since: StorageMillis | undefined
): Effect.Effect<ReadonlyArray<BellRow>, SqlError> => {
  const bells = sql(tables.bells)
  const rung = since === undefined ? sql.literal("") : sql`
UNION ALL SELECT service_name, full_name, NULL, generation, called_at, alert_until FROM (
SELECT service_name, (SELECT full_name FROM ${sql(tables.states)} AS named
WHERE named.service_name = rung.service_name) AS full_name, generation, called_at, alert_until
FROM ${bells} AS rung WHERE rung_at >= ${since} ORDER BY rung_at LIMIT ${sql.literal(String(MOST_RUNG + 1))}
) AS told`
  return sql<BellRow>`
SELECT '' AS service_name, NULL AS full_name, (SELECT epoch FROM ${sql(tables.epoch)} WHERE id = 1) AS epoch,
NULL AS a, ${sql.literal(dialect.clock)} AS b, (SELECT MAX(rung_at) FROM ${bells}) AS c${rung}`
}

/** Names the data, unless another one does at the same time. */
const makeEpoch = ({ dialect, sql, tables }: Database): Effect.Effect<unknown, SqlError> =>
  sql`INSERT INTO ${sql(tables.epoch)} ${sql.insert({ id: 1, epoch: newId() })} ${
    sql.literal(dialect.upsert(["id"], {}))
  }`

/** The circuits that rang since a time of the storage's clock. */
export const readBells = (
  database: Database,
  since: StorageMillis | undefined,
  isFirst = true
): Effect.Effect<Bells, SqlError | StorageError> =>
  Effect.flatMap(readRows(database, since), (rows) => {
    const circuits = rows.filter(({ a }) => a !== null)
    const { b, c, epoch = null } = rows.find(({ a }) => a === null) ?? {}
    if (epoch === null) {
      return isFirst
        ? Effect.andThen(makeEpoch(database), readBells(database, since, false))
        : Effect.fail(vanished(database.tables.epoch, undefined, 1))
    }
    const now = Number(b)
    const isAll = since === undefined || now - since > BELL_MILLIS || circuits.length > MOST_RUNG
    return Effect.succeed({
      epoch,
      now,
      lastRungAt: Number(c ?? 0),
      rung: isAll ? "all" : circuits.map(({ a, b, c, full_name, service_name }) => {
        const alert = { remaining: Number(c ?? 0) - now, since: Math.max(0, now - Number(b ?? 0)) }
        return {
          circuit: nameOf(service_name, full_name),
          generation: Number(a),
          ...(alert.remaining > 0 ? { alert } : {})
        }
      })
    })
  })
