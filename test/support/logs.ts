/** A logger that keeps the lines of a breaker. */
import { assert } from "@effect/vitest"
import { Cause, Effect, Logger, type LogLevel, References } from "effect"

export interface Line {
  readonly level: LogLevel.LogLevel
  readonly text: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Runs with a logger that collects every line of this level and above, but for those with one of the texts in `except`. */
export const withLogs = <A, E, R>(
  level: LogLevel.LogLevel,
  f: (lines: ReadonlyArray<Line>) => Effect.Effect<A, E, R>,
  except: ReadonlyArray<string> = []
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const lines: Array<Line> = []
    const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
      const text = Array.isArray(message) ? message.join(" ") : String(message)
      if (except.includes(text)) return
      lines.push({ level: logLevel, text, fields: fiber.getRef(References.CurrentLogAnnotations) })
      assert.deepStrictEqual(cause, Cause.empty)
    })
    return f(lines).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, level)
    )
  })

/** A line of Effect's default logger, with its fields on lines of their own where they are many. */
export const LOG_LINE = /^\[[\d:.]+\] [A-Z]+ \(#\d+\): .*\n(?: {2}.*\n|\}\n)*/gm
