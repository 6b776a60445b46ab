/** The options that the storage, its history and its printed schema have in common. */
import * as Duration from "effect/Duration"
import { durationIn, type Problem, refuse, YEAR_MILLIS } from "../internal/Check.ts"
import { idleTime } from "../Storage/Document.ts"
import { type Tables, tablesOf } from "./Schema.ts"

/** Which tables. */
export interface TableOptions {
  /**
   * The beginning of all table names, at most 32 lower-case letters, digits and underscores. Storages with one prefix
   * share their circuits. Default `circuit_breaker_`.
   */
  readonly prefix?: string | undefined
  /**
   * The schema of the tables, in Postgres. It is created where it is missing. Default: the first of the `search_path`.
   */
  readonly schema?: string | undefined
}

/** How long circuits and their changes are kept. */
export interface KeepOptions {
  /** After how long without use a circuit is forgotten, from a second to a year. Default 1 hour. */
  readonly idleTimeToLive?: Duration.Input | undefined
  /** How long changes stay in the history, from a second to a hundred years. Default 30 days. */
  readonly retention?: Duration.Input | undefined
}

const identifierIn = (field: string, value: string, longest: number): ReadonlyArray<Problem> =>
  new RegExp(`^[a-z_][a-z0-9_]{0,${longest - 1}}$`).test(value)
    ? []
    : [{ field, value, range: `at most ${longest} lower-case letters, digits and _, no digit first` }]

const problemsOf = ({ prefix = "", schema }: TableOptions): ReadonlyArray<Problem> => [
  ...prefix === "" ? [] : identifierIn("prefix", prefix, 32),
  ...schema === undefined ? [] : identifierIn("schema", schema, 63)
]

/** The tables that these options name. Throws a `RangeError` for a prefix or schema that is no plain identifier. */
export const tablesFor = (options: TableOptions): Tables => {
  refuse("Storage \"sql\"", problemsOf(options))
  return tablesOf(options.prefix ?? "circuit_breaker_", options.schema)
}

/** How long to keep circuits and changes. Throws a `RangeError` for a duration out of its range. */
export const keepFor = ({ idleTimeToLive, retention = "30 days" }: KeepOptions) => {
  refuse("Storage \"sql\"", durationIn("retention", retention, 1000, 100 * YEAR_MILLIS))
  return {
    idleTimeToLive: idleTime("sql", idleTimeToLive),
    retentionMillis: Duration.toMillis(Duration.fromInputUnsafe(retention))
  }
}
