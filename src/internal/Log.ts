/** Log lines with fields. A line below the minimum level costs a comparison. */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import { MinimumLogLevel, UnhandledLogLevel } from "effect/References"
import type * as Scope from "effect/Scope"
import { makeFork } from "./Fork.ts"
import type { FieldsOf, Message } from "./Messages.ts"
import { loggedError } from "./StorageErrors.ts"

export type Log = <Line extends Message>(line: Line, fields: FieldsOf<Line>) => void

/** Whether lines of this level are logged. */
export const isLogged = (context: Context.Context<never>, level: LogLevel.Severity): boolean =>
  LogLevel.isGreaterThanOrEqualTo(level, Context.get(context, MinimumLogLevel))

/** Logs a line from the fiber that runs it. */
export const logged = <Line extends Message>(
  { level, text }: Line & { readonly level: LogLevel.Severity },
  fields: FieldsOf<Line>
): Effect.Effect<void> => Effect.annotateLogs(Effect.logWithLevel(level)(text), { ...fields })

/** Logs a failure that no caller waits for, at the level that `UnhandledLogLevel` names. */
export const unhandled = ({ text }: Message<never>, cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.flatMap(
    UnhandledLogLevel,
    (level) => level === undefined ? Effect.void : Effect.logWithLevel(level)(text, cause)
  )

/** Logs from background fibers to the loggers of a context that is kept. */
export const makeLog = (context: Context.Context<never>): Log => {
  const fork = makeFork(context)
  return ({ level, text }, fields) => {
    const severity = level === "Unhandled" ? Context.get(context, UnhandledLogLevel) : level
    if (severity === undefined || !isLogged(context, severity)) return
    const cause = "cause" in fields ? { cause: loggedError(fields.cause) } : {}
    fork(Effect.annotateLogs(Effect.logWithLevel(severity)(text), { ...fields, ...cause }))
  }
}

/** The same for a storage, with its own scope: once that has closed, what its last requests end with is of no interest. */
export const makeLogUntilClosed: Effect.Effect<Log, never, Scope.Scope> = Effect.gen(function*() {
  const log = makeLog(yield* Effect.context<never>())
  let isClosed = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isClosed = true
    })
  )
  return (line, fields) => {
    if (!isClosed) log(line, fields)
  }
})
