/**
 * Loads the packages that storages need and that a program may not have installed.
 *
 * A package is loaded when a layer that needs it is built, by `await import()` in the `try` of a function of its own. Bundlers know
 * this shape, and esbuild no other: a package that is installed goes into the bundle, and one that is not is no error of the
 * build. A static import, in a program that is bundled into one file, would be loaded where the program starts, whichever storage
 * it uses.
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import { configErrorOf } from "../ConfigErrors.ts"

/** The error of a package that could not be loaded. It says what to install. */
export class DriverError extends Error {
  readonly _tag = "DriverError"
  constructor(name: string, cause: unknown) {
    const why = cause instanceof Error ? cause.message.split("\n", 1)[0] : String(cause)
    super(`The package ${name} could not be loaded: run "npm install ${name}" (${why})`, { cause })
    this.name = "DriverError"
  }
}

/** A driver, which is loaded once. A program without it cannot be configured to use it, so that is an error of config. */
export const loaded = <A>(load: () => Promise<A>): Effect.Effect<A, Config.ConfigError> =>
  Effect.tryPromise({
    try: load,
    catch: (error) => configErrorOf(error instanceof Error ? error.message : String(error))
  })
