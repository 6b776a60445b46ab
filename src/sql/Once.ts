/**
 * An effect that has to succeed once, such as making the tables.
 *
 * **Invariants**
 *
 * - At most one run is under way. Callers that come meanwhile wait for it.
 * - A caller that is interrupted stops waiting. The run goes on in the scope.
 * - After the first success nothing runs again; after a failure the next caller starts another run.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Starts the first run in the background. */
export const untilDone = <E>(
  effect: Effect.Effect<void, E>
): Effect.Effect<Effect.Effect<void, E>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    let current: Deferred.Deferred<void, E> | undefined
    let isDone = false
    const run = Effect.suspend(() => {
      if (isDone) return Effect.void
      if (current !== undefined) return Deferred.await(current)
      const started = current = Deferred.makeUnsafe<void, E>()
      const attempt = Effect.onExit(Effect.interruptible(effect), (exit) =>
        Effect.sync(() => {
          isDone = exit._tag === "Success"
          current = undefined
          Deferred.doneUnsafe(started, exit)
        }))
      return Effect.andThen(
        Effect.forkIn(attempt, scope, { startImmediately: true, uninterruptible: true }),
        Deferred.await(started)
      )
    })
    yield* Effect.forkScoped(Effect.ignore(run))
    return run
  })
