/** Log lines with fields, at no cost where nobody asks for them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import { MinimumLogLevel } from "effect/References"

export type Fields = Readonly<Record<string, unknown>>

export type Log = (level: LogLevel.Severity, message: string, fields: Fields) => void

/** Whether lines of this level are asked for. */
export const isLogged = (context: Context.Context<never>, level: LogLevel.Severity): boolean =>
  LogLevel.isGreaterThanOrEqualTo(level, Context.get(context, MinimumLogLevel))

/** Logs in a context that is kept, for what happens in no fiber of a user's. */
export const makeLog = (context: Context.Context<never>): Log => (level, message, fields) => {
  if (!isLogged(context, level)) return
  Effect.runForkWith(context)(Effect.annotateLogs(Effect.logWithLevel(level)(message), { ...fields }))
}
