/**
 * The errors of mysql2 and of `node:sqlite` as Effect's `SqlError`, by their numbers. A number that is not listed is an
 * `UnknownError`, which `DatabaseErrors.ts` takes for a database that cannot serve us now.
 */
import * as SqlError from "effect/sql/SqlError"

/** An error of mysql2. */
export type MysqlCause = Error & {
  readonly code?: string | undefined
  readonly errno?: number | undefined
  readonly fatal?: boolean | undefined
}

interface Fields {
  readonly cause: Error
  readonly message: string
}

type Made = (fields: Fields) => SqlError.SqlErrorReason

const authentication: Made = (fields) => new SqlError.AuthenticationError(fields)
const authorization: Made = (fields) => new SqlError.AuthorizationError(fields)
const syntax: Made = (fields) => new SqlError.SqlSyntaxError(fields)
const constraint: Made = (fields) => new SqlError.ConstraintError(fields)
const statementTimeout: Made = (fields) => new SqlError.StatementTimeoutError(fields)
const connection: Made = (fields) => new SqlError.ConnectionError(fields)
const unknown: Made = (fields) => new SqlError.UnknownError(fields)

const mysqlReasons: ReadonlyMap<number, Made> = new Map([
  [1045, authentication], // ER_ACCESS_DENIED_ERROR
  [1130, authentication], // ER_HOST_NOT_PRIVILEGED
  [1251, authentication], // ER_NOT_SUPPORTED_AUTH_MODE
  [1698, authentication], // ER_ACCESS_DENIED_NO_PASSWORD_ERROR
  [1820, authentication], // ER_MUST_CHANGE_PASSWORD
  [1862, authentication], // ER_MUST_CHANGE_PASSWORD_LOGIN
  [3118, authentication], // ER_ACCOUNT_HAS_BEEN_LOCKED of MySQL
  [4151, authentication], // ER_ACCOUNT_HAS_BEEN_LOCKED of MariaDB
  [1044, authorization], // ER_DBACCESS_DENIED_ERROR
  [1142, authorization], // ER_TABLEACCESS_DENIED_ERROR
  [1143, authorization], // ER_COLUMNACCESS_DENIED_ERROR
  [1227, authorization], // ER_SPECIFIC_ACCESS_DENIED_ERROR
  [1370, authorization], // ER_PROCACCESS_DENIED_ERROR
  [1054, syntax], // ER_BAD_FIELD_ERROR
  [1064, syntax], // ER_PARSE_ERROR
  [1146, syntax], // ER_NO_SUCH_TABLE
  [1048, constraint], // ER_BAD_NULL_ERROR
  [1062, (fields) => new SqlError.UniqueViolation({ ...fields, constraint: "unknown" })], // ER_DUP_ENTRY
  [1264, constraint], // ER_WARN_DATA_OUT_OF_RANGE
  [1292, constraint], // ER_TRUNCATED_WRONG_VALUE
  [1366, constraint], // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
  [1406, constraint], // ER_DATA_TOO_LONG
  [3819, constraint], // ER_CHECK_CONSTRAINT_VIOLATED of MySQL
  [4025, constraint], // ER_CONSTRAINT_FAILED of MariaDB
  [1213, (fields) => new SqlError.DeadlockError(fields)], // ER_LOCK_DEADLOCK
  [1020, (fields) => new SqlError.SerializationError(fields)], // ER_CHECKREAD
  [1205, (fields) => new SqlError.LockTimeoutError(fields)], // ER_LOCK_WAIT_TIMEOUT
  [1969, statementTimeout], // ER_STATEMENT_TIMEOUT of MariaDB
  [3024, statementTimeout], // ER_QUERY_TIMEOUT of MySQL
  [1040, connection], // ER_CON_COUNT_ERROR
  [1053, connection], // ER_SERVER_SHUTDOWN
  [1203, connection] // ER_TOO_MANY_USER_CONNECTIONS
])

/** Error numbers below this one are of the client, not of the server. */
const FIRST_SERVER_ERROR = 1000

const isOfTheClient = ({ errno, fatal }: MysqlCause): boolean =>
  fatal === true || errno === undefined || errno < FIRST_SERVER_ERROR

/** The error of a statement, or of connecting. */
export const mysqlError = (cause: MysqlCause): SqlError.SqlError => {
  const made = mysqlReasons.get(cause.errno ?? 0) ??
    (cause.code === "PROTOCOL_SEQUENCE_TIMEOUT" ? statementTimeout : isOfTheClient(cause) ? connection : unknown)
  return new SqlError.SqlError({ reason: made({ cause, message: cause.message }) })
}

/**
 * Error codes of a server when another one should be asked: it takes no writes, or it is about to go. Behind a proxy, a new
 * connection may lead to the server that has taken over.
 */
const WRONG_MYSQL_SERVER: ReadonlySet<number> = new Set([
  1047, // ER_UNKNOWN_COM_ERROR: "WSREP has not yet prepared node for application use"
  1053, // ER_SERVER_SHUTDOWN
  1290, // ER_OPTION_PREVENTS_STATEMENT: --read-only
  1792, // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
  1836, // ER_READ_ONLY_MODE
  1927, // ER_CONNECTION_KILLED
  4031, // ER_CLIENT_INTERACTION_TIMEOUT
  9001 // ProxySQL: "Max connect timeout reached while reaching hostgroup"
])

/** Whether a connection must not be used again after this error. */
export const isMysqlConnectionLost = ({ reason }: SqlError.SqlError): boolean => {
  const { code, errno } = reason.cause as MysqlCause
  return reason._tag === "ConnectionError" || code === "PROTOCOL_SEQUENCE_TIMEOUT" ||
    WRONG_MYSQL_SERVER.has(errno ?? 0)
}

/** Error codes of Postgres, or of a pooler before it, when another server should be asked. */
const WRONG_POSTGRES_SERVER = /^(25006|57P0\d)$/

/** Whether to discard the connection after this error, although the server has not closed it. */
export const isWrongPostgresServer = ({ reason }: SqlError.SqlError): boolean => {
  const { code } = reason.cause as { readonly code?: unknown }
  return typeof code === "string" && WRONG_POSTGRES_SERVER.test(code)
}

/** Primary result codes of SQLite that are about the statement or its values. */
const sqliteReasons: ReadonlyMap<number, Made> = new Map([
  [1, syntax], // SQLITE_ERROR
  [18, constraint], // SQLITE_TOOBIG
  [20, constraint], // SQLITE_MISMATCH
  [25, syntax] // SQLITE_RANGE
])

/** An error of `node:sqlite`; without a number it is not SQLite's: the file could not be opened, or the thread ended. */
export interface SqliteFailure {
  readonly message: string
  readonly errno?: number | undefined
  readonly code?: string | undefined
}

export const sqliteError = ({ code, errno, message }: SqliteFailure): SqlError.SqlError => {
  const cause = Object.assign(new Error(message), errno === undefined ? { code } : { errno })
  const made: Made = errno === undefined
    ? connection
    // An extended code has its primary code in the low byte.
    : sqliteReasons.get(errno & 0xff) ?? ((fields) => SqlError.classifySqliteError(cause, fields))
  return new SqlError.SqlError({ reason: made({ cause, message }) })
}
