/** What is too old goes, a few rows at a time, so that nobody waits long for it. */
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { StorageError } from "../Storage/Storage.ts"
import { type Circuits, circuitsIn } from "./Circuits.ts"
import type { Dialect } from "./Dialect.ts"
import type { Tables } from "./Schema.ts"
import { type Transaction, transactionOf } from "./Transaction.ts"

/** What was deleted: rows of the history, circuits that nobody used any more, and instances that were silent for long. */
export interface Cleaned {
  readonly changes: number
  readonly circuits: number
  readonly instances: number
}

export interface CleanUp {
  /** Deletes what is older, by whoever asks. */
  readonly run: (retention: number) => Effect.Effect<Cleaned, SqlError | StorageError>
  /** Whether it is time, for one who asks and for nobody else until `every` has passed. */
  readonly claim: (every: number) => Effect.Effect<boolean, SqlError>
}

/** Rows of one statement, and circuits looked at by one. */
const MOST_ROWS = 1000

const JOB = "clean-up"

export const cleanUpOf = (
  sql: SqlClient,
  dialect: Dialect,
  tables: Tables,
  idleTimeToLive: number
): CleanUp => {
  const circuits: Circuits = circuitsIn(sql, dialect, tables, idleTimeToLive)
  const transaction: Transaction = transactionOf(sql, dialect)
  const now = Effect.map(circuits.read([""]), ({ now }) => now)
  const limit = sql.literal(`LIMIT ${MOST_ROWS}`)

  const deleteBefore = (table: string, keys: string, column: string, time: unknown) => {
    const old = sql`FROM ${sql(table)} WHERE ${sql(column)} < ${time}`
    const remove = dialect.backend === "mysql"
      ? sql`DELETE ${old} ORDER BY ${sql(column)} ${limit}`
      : sql`DELETE FROM ${sql(table)} WHERE (${sql.literal(keys)}) IN
(SELECT ${sql.literal(keys)} ${old} ORDER BY ${sql(column)} ${limit})`
    return Effect.gen(function*() {
      let sum = 0
      while (true) {
        const found = yield* sql`SELECT 1 AS found ${old} ${limit}`
        if (found.length === 0) return sum
        yield* remove
        sum += found.length
      }
    })
  }

  /** One after the other, each held only while it is looked at. */
  const forgetExpired: Effect.Effect<number, SqlError | StorageError> = Effect.gen(function*() {
    const time = dialect.time(yield* now)
    let sum = 0
    let after = ""
    while (true) {
      const rows = yield* sql<{ readonly service_name: string }>`
SELECT service_name FROM ${sql(tables.states)} WHERE expires_at < ${time} AND service_name >= ${after}
ORDER BY service_name ${limit}`
      for (const { service_name } of rows) {
        // One that makes no sense is somebody's to look at.
        const isGone = yield* transaction(circuits.forget(service_name)).pipe(
          Effect.catchTag("StorageError", () => Effect.succeed(false))
        )
        if (isGone) sum++
      }
      if (rows.length < MOST_ROWS) return sum
      after = rows.at(-1)!.service_name
    }
  })

  return {
    run: (retention) =>
      Effect.gen(function*() {
        const time = yield* now
        return {
          changes: yield* deleteBefore(
            tables.history,
            "service_name, created_at, generation",
            "created_at",
            dialect.time(time - retention)
          ),
          circuits: yield* forgetExpired,
          instances: yield* deleteBefore(
            tables.instances,
            "service_name, instance, kind",
            "heard_at",
            time - idleTimeToLive
          )
        }
      }),
    claim: (every) =>
      Effect.andThen(
        sql`INSERT INTO ${sql(tables.jobs)} ${sql.insert({ job: JOB, due_at: 0 })} ${
          sql.literal(dialect.upsert(["job"], {}))
        }`,
        transaction(Effect.gen(function*() {
          const [row] = yield* sql<{ readonly due_at: unknown }>`
SELECT due_at FROM ${sql(tables.jobs)} WHERE job = ${JOB} ${sql.literal(dialect.forUpdate)}`
          const time = yield* now
          if (row === undefined || time < Number(row.due_at)) return false
          yield* sql`UPDATE ${sql(tables.jobs)} SET due_at = ${Math.floor(time + every)} WHERE job = ${JOB}`
          return true
        }))
      )
  }
}
