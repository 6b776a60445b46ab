/** Options that all who use the tables have, checked. */
import * as Duration from "effect/Duration"
import { durationIn, type Problem, refuse } from "../internal/Check.ts"
import { type Tables, tablesOf } from "./Schema.ts"

/** Which tables. */
export interface TableOptions {
  /**
   * What all tables begin with: lower-case letters, digits and underscores. Whoever shares it shares the circuits. Default
   * `circuit_breaker_`.
   */
  readonly prefix?: string | undefined
  /** The schema of the tables, in Postgres. It is made where there is none. Default: the first of the `search_path`. */
  readonly schema?: string | undefined
}

/** What is deleted when. */
export interface KeepOptions {
  /** After how long without use a circuit is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** For how long changes are remembered, from a second to a hundred years. Default 30 days. */
  readonly retention?: Duration.Input | undefined
}

const YEAR = 365 * 24 * 60 * 60 * 1000

const identifierIn = (field: string, value: string, longest: number): ReadonlyArray<Problem> =>
  new RegExp(`^[a-z_][a-z0-9_]{0,${longest - 1}}$`).test(value)
    ? []
    : [{ field, value, range: `at most ${longest} lower-case letters, digits and _, no digit first` }]

const problemsOf = ({ prefix = "", schema }: TableOptions): ReadonlyArray<Problem> => [
  ...prefix === "" ? [] : identifierIn("prefix", prefix, 32),
  ...schema === undefined ? [] : identifierIn("schema", schema, 63)
]

/** The tables of these options. Throws a `RangeError` for options that make no sense. */
export const tablesFor = (options: TableOptions): Tables => {
  refuse("Storage \"sql\"", problemsOf(options))
  return tablesOf(options.prefix ?? "circuit_breaker_", options.schema)
}

/** How long things are kept. Throws a `RangeError` for options that make no sense. */
export const keepFor = ({ idleTimeToLive = "1 hour", retention = "30 days" }: KeepOptions) => {
  refuse("Storage \"sql\"", [
    ...durationIn("idleTimeToLive", idleTimeToLive, 1000, YEAR),
    ...durationIn("retention", retention, 1000, 100 * YEAR)
  ])
  return {
    idleTimeToLive: Duration.fromInputUnsafe(idleTimeToLive),
    retention: Duration.toMillis(Duration.fromInputUnsafe(retention))
  }
}
