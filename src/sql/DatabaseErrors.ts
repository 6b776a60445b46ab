/** Errors of a database as `StorageError`s, which say what to do as far as that is known. */
import type { MigrationError } from "effect/sql/Migrator"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { shown } from "../internal/Check.ts"
import { failure } from "../internal/StorageErrors.ts"
import type { StorageError } from "../Storage/Storage.ts"

export type Failure = SqlError | MigrationError | StorageError

export const illFormed = (operation: string, circuit: string): StorageError =>
  failure({ operation, circuit }, "Invalid", "the circuit's name is not well-formed Unicode")

/** A row that cannot be decoded. It stays as it is, so that an operator can look at it. */
export const unreadable = (table: string, column: string, key: string, cause: unknown): StorageError => {
  const problem = cause instanceof Error ? cause.message : String(cause)
  const row = `${table}.${column} of circuit ${shown(key)}`
  const text = `${row} cannot be read: ${problem}; repair or delete the row`
  return failure({ operation: "decode", circuit: key }, "Invalid", text)
}

const causesOf = (error: unknown): ReadonlyArray<unknown> =>
  typeof error === "object" && error !== null && "cause" in error && error.cause !== undefined
    ? [error.cause, ...causesOf(error.cause)]
    : []

/** Tells an operator what to do about an error, as far as that is known. */
const adviceOn = (error: SqlError): string | undefined => {
  switch (error.reason._tag) {
    case "AuthenticationError":
      return "the database refused the user name or the password: correct the URL or the user's password"
    case "AuthorizationError":
      return "the user lacks a right: grant it SELECT, INSERT, UPDATE and DELETE on the circuit breaker tables"
    default:
      return causesOf(error).some((cause) =>
          cause instanceof Error && /no such table|doesn't exist|does not exist/.test(cause.message)
        )
        ? "a circuit breaker table is missing: create what SqlSchema.print lists, or set the option \"migrate\""
        : undefined
  }
}

const MIGRATION_ADVICE =
  "the circuit breaker tables could not be created: run what SqlSchema.print lists as a user who may create tables"

const advised = (cause: unknown, message: string | undefined): unknown =>
  message === undefined ? cause : new Error(message, { cause })

/** SQLSTATE classes of a server that shuts down, starts up, or has no resources left. */
const UNAVAILABLE = /^(08|53|57P)/

const isUnavailable = (error: SqlError): boolean =>
  causesOf(error).some((cause) =>
    typeof cause === "object" && cause !== null && "code" in cause && UNAVAILABLE.test(String(cause.code))
  )

const reasonOf = (error: SqlError): StorageError["reason"] => {
  switch (error.reason._tag) {
    case "AuthenticationError":
    case "AuthorizationError":
      return "Denied"
    case "LockTimeoutError":
    case "StatementTimeoutError":
      return "Deadline"
    case "ConnectionError":
    case "DeadlockError":
    case "SerializationError":
      return "Unavailable"
    default:
      return isUnavailable(error) ? "Unavailable" : "Invalid"
  }
}

export const storageErrorOf = (operation: string, circuit?: string) => (error: Failure): StorageError => {
  const made = (reason: StorageError["reason"], cause: unknown) => failure({ operation, circuit }, reason, cause)
  switch (error._tag) {
    case "StorageError":
      return made(error.reason, error.cause)
    case "SqlError":
      return made(reasonOf(error), advised(error, adviceOn(error)))
    case "MigrationError": {
      const cause = causesOf(error).find(isSqlError)
      return made(cause === undefined ? "Invalid" : reasonOf(cause), advised(error, MIGRATION_ADVICE))
    }
  }
}
