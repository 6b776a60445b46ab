/**
 * Runs the operations of a storage: outside of the caller's transaction, with a deadline, and with errors as
 * `StorageError`s.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { isSqlError } from "effect/sql/SqlError"
import { makeFork } from "../internal/Fork.ts"
import { Requests } from "../internal/Request.ts"
import type { StorageError } from "../Storage/Storage.ts"
import type { Database } from "./Database.ts"
import { type Failure, illFormed, storageErrorOf } from "./DatabaseErrors.ts"

/** Runs an operation, on one circuit or on many. */
export type Run = <A>(
  operation: string,
  circuit: string | undefined,
  effect: Effect.Effect<A, Failure>
) => Effect.Effect<A, StorageError>

/**
 * Operations wait until `prepared` has succeeded. They run in the background, because a statement on a silent
 * connection cannot be interrupted, and the caller must get its answer at the deadline all the same.
 */
export const makeRun = ({ sql }: Database, { deadline, prepared }: {
  readonly prepared: Effect.Effect<void, Failure>
  readonly deadline: Duration.Duration
}): Effect.Effect<Run, never, Scope.Scope> =>
  Effect.gen(function*() {
    const fork = makeFork(yield* Effect.context<never>(), yield* Effect.scope)
    const requests = new Requests(yield* Clock.Clock, fork)
    const deadlineMillis = Duration.toMillis(deadline)
    return (operation, circuit, effect) => {
      if (circuit?.isWellFormed() === false) return Effect.fail(illFormed(operation, circuit))
      const whole = Effect.andThen(prepared, effect).pipe(
        // A rollback on a connection that broke dies with a `SqlError`. The server has rolled back all the same.
        Effect.catchDefect((defect) => isSqlError(defect) ? Effect.fail(defect) : Effect.die(defect)),
        Effect.mapError(storageErrorOf(operation, circuit))
      )
      return Effect.contextWith((context: Context.Context<never>) => {
        // The caller may be in a transaction on the same client, and could roll the operation back with it.
        const outside = Effect.provideContext(whole, Context.omit(sql.transactionService)(context))
        return requests.effect({ operation, circuit }, () => outside, deadlineMillis)
      })
    }
  })
