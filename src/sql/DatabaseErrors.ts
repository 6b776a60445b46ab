/**
 * Errors of a database as `StorageError`s, which say what to do as far as that is known.
 *
 * `Invalid` is for what this library wrote or read: a statement or a value that the database does not accept, and a row
 * that cannot be decoded. It says nothing about other circuits, and no other storage is asked. What a driver says
 * besides, a code that nobody knows included, is `Unavailable`: the database does not serve us now, and another storage
 * may.
 */
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

/** Rows that were inserted again and again, and are not found. */
export const vanished = (table: string, circuit: string | undefined, tries: number): StorageError =>
  failure(
    { operation: "write", circuit },
    "Unavailable",
    `rows${
      circuit === undefined ? "" : ` of circuit ${shown(circuit)}`
    } were inserted into ${table} ${tries} times and are not found: a trigger or a ` +
      "policy removes them, or reads go to a replica that is behind; send all statements to the primary"
  )

const causesOf = (error: unknown): ReadonlyArray<unknown> =>
  typeof error === "object" && error !== null && "cause" in error && error.cause !== undefined
    ? [error.cause, ...causesOf(error.cause)]
    : []

/** An error as an operator may be advised on it: its code (SQLSTATE, or error number) and its message. */
interface Said {
  readonly code: string
  readonly message: string
}

/** The driver's error code. `errno` comes first, because mysql2 has its own word for a number in `code`. */
const saidBy = (error: SqlError): ReadonlyArray<Said> =>
  causesOf(error).flatMap((cause) => {
    if (!(cause instanceof Error)) return []
    const { code, errno } = cause as { readonly code?: string | number; readonly errno?: number }
    return [{ code: `${errno ?? code ?? ""}`, message: cause.message }]
  })

const POOLER = "a pooler in transaction mode stands before the server: set the option \"pooler\" (DATABASE_POOLER=true)"

type Advice = readonly [fits: (said: Said) => boolean, advice: string]

/** Advice for tables that are missing or of another version. */
const tableAdvices: ReadonlyArray<Advice> = [
  [
    ({ code, message }) => /^(42703|1054)$/.test(code) || /no such column|has no column named/.test(message),
    "a circuit breaker table lacks a column, so it is of an older schema: add what SqlSchema.print lists, or set the " +
    "option \"migrate\""
  ],
  [
    ({ code, message }) => /^(42P01|3F000|1146)$/.test(code) || /no such table/.test(message),
    "a circuit breaker table is missing: create what SqlSchema.print lists, or set the option \"migrate\""
  ]
]

/** Advice for a server, or a pooler or proxy before it, that refuses. */
const serverAdvices: ReadonlyArray<Advice> = [
  [
    ({ code }) => /^(3D000|1049)$/.test(code),
    "the server has no database of this name: create it, or correct the URL"
  ],
  [
    ({ code }) => code === "1046",
    "no database is chosen: name one in the URL, as in mysql://user:password@host/database"
  ],
  [
    ({ code }) => /^(25006|1290|1792|1836)$/.test(code),
    "the server takes no writes, because it is a replica or set to read-only: connect to the primary"
  ],
  [({ code }) => /^(53100|1021|1114)$/.test(code), "the server's disk is full: make room on it"],
  [({ code, message }) => code === "08P01" && /startup parameter/.test(message), POOLER],
  [({ code, message }) => /^(26000|42P05|08P01)$/.test(code) && /prepared statement/.test(message), POOLER],
  [
    ({ message }) => /database or disk is full|readonly database|disk I\/O error|not a database/.test(message),
    "SQLite cannot use the file: look at its disk, its permissions and the file itself"
  ]
]

const fitting = (error: SqlError, advices: ReadonlyArray<Advice>): string | undefined => {
  const said = saidBy(error)
  return advices.find(([fits]) => said.some(fits))?.[1]
}

const REFUSED_USER = "the database refused the user name or the password: correct the URL or the user's password"

/** Tells an operator what to do about an error, as far as that is known. */
const adviceOn = (error: SqlError): string | undefined => {
  switch (error.reason._tag) {
    case "AuthenticationError":
      return REFUSED_USER
    case "AuthorizationError":
      return "the user lacks a right: grant it SELECT, INSERT, UPDATE and DELETE on the circuit breaker tables"
    default:
      return fitting(error, [...tableAdvices, ...serverAdvices])
  }
}

const MIGRATION_ADVICE =
  "the circuit breaker tables could not be created: run what SqlSchema.print lists as a user who may create tables"

/** The same where the tables could not be created. A server that was not reached says nothing about them. */
const migrationAdviceOn = (error: SqlError): string | undefined => {
  switch (error.reason._tag) {
    case "AuthenticationError":
      return REFUSED_USER
    case "LockTimeoutError":
      return `the circuit breaker tables were not created: ${error.message}`
    case "ConnectionError":
      return fitting(error, serverAdvices)
    default:
      return fitting(error, serverAdvices) ?? MIGRATION_ADVICE
  }
}

const advised = (cause: unknown, message: string | undefined): unknown =>
  message === undefined ? cause : new Error(message, { cause })

/** Codes of statements and values that a driver may not tell apart: SQLSTATE classes, and SQLite's own words. */
const isOfOurStatement = ({ code, message }: Said): boolean =>
  /^(2[12]|42)[0-9A-Z]{3}$|^3F000$/.test(code) || /no such table|no such column/.test(message)

const reasonOf = (error: SqlError): StorageError["reason"] => {
  switch (error.reason._tag) {
    case "AuthenticationError":
    case "AuthorizationError":
      return "Denied"
    case "LockTimeoutError":
    case "StatementTimeoutError":
      return "Deadline"
    case "SqlSyntaxError":
    case "UniqueViolation":
    case "ConstraintError":
      return "Invalid"
    case "UnknownError":
      return saidBy(error).some(isOfOurStatement) ? "Invalid" : "Unavailable"
    default:
      return "Unavailable"
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
      return cause === undefined
        ? made("Unavailable", advised(error, MIGRATION_ADVICE))
        : made(reasonOf(cause), advised(error, migrationAdviceOn(cause)))
    }
  }
}
