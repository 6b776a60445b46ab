/** What a database refuses, as a storage says it. */
import type { MigrationError } from "effect/sql/Migrator"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { StorageError } from "../Storage/Storage.ts"

export type Failure = SqlError | MigrationError | StorageError

const of = (circuit: string | undefined) => circuit === undefined ? {} : { circuit }

export const illFormed = (operation: string, circuit: string): StorageError =>
  new StorageError({ operation, circuit, reason: "Invalid", cause: "the circuit's name is not well-formed Unicode" })

export const tooLate = (operation: string, circuit: string | undefined, deadline: string): StorageError =>
  new StorageError({ operation, ...of(circuit), reason: "Deadline", cause: `no answer within ${deadline}` })

const causesOf = (error: unknown): ReadonlyArray<unknown> =>
  typeof error === "object" && error !== null && "cause" in error && error.cause !== undefined
    ? [error.cause, ...causesOf(error.cause)]
    : []

/** What helps, as far as it is known. */
const adviceOn = (error: SqlError): string | undefined => {
  switch (error.reason._tag) {
    case "AuthenticationError":
      return "the database does not know this user, or not by this password: look at the URL"
    case "AuthorizationError":
      return "the user may not do this: it needs SELECT, INSERT, UPDATE and DELETE on the tables of circuit breakers"
    default:
      return causesOf(error).some((cause) =>
          cause instanceof Error && /no such table|doesn't exist|does not exist/.test(cause.message)
        )
        ? "the tables of circuit breakers are not there, or not all of them: make them, or let the storage do it (migrate)"
        : undefined
  }
}

const NO_TABLES =
  "the tables of circuit breakers could not be made: let a user make them who may, with what SqlSchema.print says"

const advised = (cause: unknown, message: string | undefined): unknown =>
  message === undefined ? cause : new Error(message, { cause })

/** SQLSTATE classes of a server that is going away, coming up, or full. */
const AWAY = /^(08|53|57P)/

const isAway = (error: SqlError): boolean =>
  causesOf(error).some((cause) =>
    typeof cause === "object" && cause !== null && "code" in cause && AWAY.test(String(cause.code))
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
      return isAway(error) ? "Unavailable" : "Invalid"
  }
}

export const errorOf = (operation: string, circuit?: string) => (error: Failure): StorageError => {
  const made = (reason: StorageError["reason"], cause: unknown) =>
    new StorageError({ operation, ...of(circuit), reason, cause })
  switch (error._tag) {
    case "StorageError":
      return made(error.reason, error.cause)
    case "SqlError":
      return made(reasonOf(error), advised(error, adviceOn(error)))
    case "MigrationError": {
      const cause = causesOf(error).find(isSqlError)
      return made(cause === undefined ? "Invalid" : reasonOf(cause), advised(error, NO_TABLES))
    }
  }
}
