/** How what is wrong with config is said: every reason is a `ConfigError`. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

/** An error of config in words. */
export const configErrorOf = (message: string): Config.ConfigError =>
  new Config.ConfigError(new Schema.SchemaError(new SchemaIssue.InvalidValue({ message })))

/** An error that a constructor throws for a value of the configuration is an error of configuration, too. */
export const rangeErrorsFail = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Config.ConfigError, R> =>
  Effect.catchDefect(
    self,
    (defect) => defect instanceof RangeError ? Effect.fail(configErrorOf(defect.message)) : Effect.die(defect)
  )
