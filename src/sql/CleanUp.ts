/** Deletes what is too old, a few rows at a time, so that other transactions do not wait long for a lock. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { StorageError } from "../Storage/Storage.ts"
import type { Database } from "./Database.ts"
import type { Failure } from "./DatabaseErrors.ts"
import { anyOf } from "./Dialect.ts"
import { transaction } from "./Transaction.ts"
import { readNowMillis } from "./View.ts"
import { forgetExpired } from "./Write.ts"

/** How many rows were deleted: changes in the history, circuits that have expired, and instances that were silent. */
export interface Cleaned {
  readonly changes: number
  readonly circuits: number
  readonly instances: number
}

/** Rows that one statement reads or deletes. */
const MOST_ROWS = 1000

const JOB = "clean-up"

const HOUR_MILLIS = Duration.toMillis("1 hour")

const limitOf = ({ sql }: Database) => sql.literal(`LIMIT ${MOST_ROWS}`)

/** Deletes rows whose column is below a value, and counts them. */
const deleteBelow = (
  database: Database,
  { column, keys, table }: { readonly table: string; readonly keys: string; readonly column: string },
  value: unknown
): Effect.Effect<number, SqlError> => {
  const { dialect, sql } = database
  const limit = limitOf(database)
  const old: Fragment = sql`FROM ${sql(table)} WHERE ${sql(column)} < ${value}`
  const remove = dialect.backend === "mysql"
    ? sql`DELETE ${old} ORDER BY ${sql(column)} ${limit}`
    : sql`DELETE FROM ${sql(table)} WHERE (${sql.literal(keys)}) IN
(SELECT ${sql.literal(keys)} ${old} ORDER BY ${sql(column)} ${limit})`
  return Effect.gen(function*() {
    const [row] = yield* sql<{ readonly count: unknown }>`SELECT COUNT(*) AS count ${old}`
    const count = Number(row?.count ?? 0)
    // Counted before, so that it ends although a policy or a trigger keeps the rows.
    for (let left = count; left > 0; left -= MOST_ROWS) yield* remove
    return count
  })
}

/** Rows of one statement that names each: so many circuits are locked while they are checked. */
const MOST_NAMED = 100

/** Deletes expired circuits, a batch at a time, so that each is locked only while its batch is checked. */
const forgetCircuits = (database: Database): Effect.Effect<number, SqlError> =>
  Effect.gen(function*() {
    const { dialect, sql, tables } = database
    const now = dialect.time(yield* readNowMillis(database))
    let sum = 0
    let after = ""
    while (true) {
      const rows = yield* sql<{ readonly service_name: string }>`
SELECT service_name FROM ${sql(tables.states)} WHERE expires_at < ${now} AND service_name >= ${after}
ORDER BY service_name ${limitOf(database)}`
      for (let i = 0; i < rows.length; i += MOST_NAMED) {
        const keys = rows.slice(i, i + MOST_NAMED).map(({ service_name }) => service_name)
        sum += yield* transaction(database, forgetExpired(database, keys))
      }
      if (rows.length < MOST_ROWS) return sum
      after = rows.at(-1)!.service_name
    }
  })

interface InstanceRow {
  readonly service_name: string
  readonly instance: string
  readonly kind: string
  readonly heard_at: unknown
}

/**
 * Deletes the instances that were silent since then. It reads all of them by their key, because each report changes when
 * its instance was heard, and an index on that would cost every report more than this costs once an hour.
 */
const forgetInstances = (database: Database, sinceMillis: number): Effect.Effect<number, SqlError> =>
  Effect.gen(function*() {
    const { sql, tables } = database
    let sum = 0
    let [circuit, instance] = ["", ""]
    while (true) {
      const rows = yield* sql<InstanceRow>`
SELECT service_name, instance, kind, heard_at FROM ${sql(tables.instances)}
WHERE service_name >= ${circuit} AND (service_name > ${circuit} OR instance >= ${instance})
ORDER BY service_name, instance, kind ${limitOf(database)}`
      const silent = rows.filter(({ heard_at }) => Number(heard_at) < sinceMillis)
      for (let i = 0; i < silent.length; i += MOST_NAMED) {
        const some = silent.slice(i, i + MOST_NAMED)
        const keys = some.map(({ instance, kind, service_name }) => ({ service_name, instance, kind }))
        yield* sql`DELETE FROM ${sql(tables.instances)} WHERE ${anyOf(sql, keys)} AND heard_at < ${sinceMillis}`
      }
      sum += silent.length
      if (rows.length < MOST_ROWS) return sum
      ;({ instance, service_name: circuit } = rows.at(-1)!)
    }
  })

/** Deletes everything that is too old, whether or not the clean-up is due. */
export const cleanUp = (
  database: Database,
  retentionMillis: number
): Effect.Effect<Cleaned, SqlError | StorageError> =>
  Effect.gen(function*() {
    const { dialect, idleMillis, tables } = database
    const nowMillis = yield* readNowMillis(database)
    const history = { table: tables.history, keys: "service_name, created_at, generation", column: "created_at" }
    return {
      changes: yield* deleteBelow(database, history, dialect.time(nowMillis - retentionMillis)),
      circuits: yield* forgetCircuits(database),
      instances: yield* forgetInstances(database, nowMillis - idleMillis)
    }
  })

/**
 * Whether the clean-up is due. One caller gets `true`; the others get `false` until `everyMillis` have passed.
 */
export const claimCleanUp = (database: Database, everyMillis: number): Effect.Effect<boolean, SqlError> => {
  const { dialect, sql, tables } = database
  return Effect.andThen(
    sql`INSERT INTO ${sql(tables.jobs)} ${sql.insert({ job: JOB, due_at: 0 })} ${
      sql.literal(dialect.upsert(["job"], {}))
    }`,
    transaction(
      database,
      Effect.gen(function*() {
        const [row] = yield* sql<{ readonly due_at: unknown }>`
SELECT due_at FROM ${sql(tables.jobs)} WHERE job = ${JOB} ${sql.literal(dialect.forUpdate)}`
        const nowMillis = yield* readNowMillis(database)
        if (row === undefined || nowMillis < Number(row.due_at)) return false
        yield* sql`UPDATE ${sql(tables.jobs)} SET due_at = ${Math.floor(nowMillis + everyMillis)} WHERE job = ${JOB}`
        return true
      })
    )
  )
}

/**
 * Cleans up once an hour, on whichever instance claims it first. A failure is logged, and tried again an hour later.
 */
export const cleanUpHourly = (
  database: Database,
  prepared: Effect.Effect<void, Failure>,
  retentionMillis: number
): Effect.Effect<never> => {
  const ifDue = Effect.flatMap(
    claimCleanUp(database, HOUR_MILLIS),
    (isDue) => isDue ? cleanUp(database, retentionMillis) : Effect.void
  )
  // The first claims are spread over ten minutes, because a fleet's instances start at once.
  return Effect.sleep(Duration.millis(Math.random() * HOUR_MILLIS / 6)).pipe(
    Effect.andThen(Effect.ignore(Effect.andThen(prepared, ifDue), { log: "Unhandled" })),
    Effect.andThen(Effect.sleep("1 hour")),
    Effect.forever,
    // The schedule is of this process, whatever clock a test has provided.
    Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  )
}
