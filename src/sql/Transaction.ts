import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import type { Database } from "./Database.ts"

/** The database ended the transaction in favour of another one that locks the same rows. */
export const isConflict = (error: unknown): boolean =>
  isSqlError(error) && (error.reason._tag === "DeadlockError" || error.reason._tag === "SerializationError")

/** Runs statements as one transaction, and again after a deadlock. */
export const transaction = <A, E>(
  { dialect: { begin }, sql }: Database,
  effect: Effect.Effect<A, E>
): Effect.Effect<A, E | SqlError> => {
  const once = sql.withTransaction(effect)
  return (begin === undefined ? once : Effect.provideService(once, SqlClient.BeginTransaction, begin)).pipe(
    Effect.retry({ while: isConflict, times: 10, schedule: Schedule.jittered(Schedule.exponential(5)) })
  )
}
