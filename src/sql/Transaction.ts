import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import type { Dialect } from "./Dialect.ts"

/** Runs statements as one, and again where others were in the way. */
export type Transaction = <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>

/** Two wanted the same rows, and one was told to come back. */
const isConflict = (error: unknown): boolean =>
  isSqlError(error) && (error.reason._tag === "DeadlockError" || error.reason._tag === "SerializationError")

export const transactionOf = (sql: SqlClient.SqlClient, { begin }: Dialect): Transaction => (effect) => {
  const transaction = sql.withTransaction(effect)
  return (begin === undefined
    ? transaction
    : Effect.provideService(transaction, SqlClient.BeginTransaction, begin)).pipe(
      Effect.retry({ while: isConflict, times: 10, schedule: Schedule.jittered(Schedule.exponential(5)) })
    )
}
