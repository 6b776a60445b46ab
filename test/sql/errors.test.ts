/** What the errors of each driver are to a storage: tables of their codes, and the words that go with them. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { SqlError, UnknownError } from "effect/sql/SqlError"
import { join } from "node:path"
import { circuitOf, failures, times } from "../../src/conformance/Law.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import { storageErrorOf } from "../../src/sql/DatabaseErrors.ts"
import { isMysqlConnectionLost, isWrongPostgresServer, mysqlError, sqliteError } from "../../src/sql/DriverErrors.ts"
import type { StorageError } from "../../src/Storage/Storage.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { build, type Database, databases, errorOf, freshPrefix, layerOn, mariadb, postgres } from "./databases.ts"

type Reason = StorageError["reason"]

const said = ({ cause }: StorageError) => cause instanceof Error ? cause.message : String(cause)

/** By SQLSTATE. */
const postgresReasons: Readonly<Record<string, Reason>> = {
  "28P01": "Denied", // invalid_password
  "28000": "Denied", // invalid_authorization_specification
  "42501": "Denied", // insufficient_privilege
  "42601": "Invalid", // syntax_error
  "42P01": "Invalid", // undefined_table
  "42703": "Invalid", // undefined_column
  "3F000": "Invalid", // invalid_schema_name
  "22001": "Invalid", // string_data_right_truncation
  "22P02": "Invalid", // invalid_text_representation
  "23505": "Invalid", // unique_violation
  "23514": "Invalid", // check_violation
  "55P03": "Deadline", // lock_not_available
  "57014": "Deadline", // query_canceled
  "25006": "Unavailable", // read_only_sql_transaction
  "08P01": "Unavailable", // protocol_violation
  "26000": "Unavailable", // invalid_sql_statement_name
  "3D000": "Unavailable", // invalid_catalog_name
  "53100": "Unavailable", // disk_full
  "53200": "Unavailable", // out_of_memory
  "53300": "Unavailable", // too_many_connections
  "55000": "Unavailable", // object_not_in_prerequisite_state
  "57P01": "Unavailable", // admin_shutdown
  "57P03": "Unavailable", // cannot_connect_now
  "57P04": "Unavailable", // database_dropped
  "58030": "Unavailable", // io_error
  "0A000": "Unavailable", // feature_not_supported
  "P0001": "Unavailable", // raise_exception
  XX000: "Unavailable", // internal_error
  XX001: "Unavailable", // data_corrupted
  ZZ123: "Unavailable" // nobody's
}

/** By error number. */
const mysqlReasons: Readonly<Record<number, Reason>> = {
  1045: "Denied", // ER_ACCESS_DENIED_ERROR
  1130: "Denied", // ER_HOST_NOT_PRIVILEGED
  1698: "Denied", // ER_ACCESS_DENIED_NO_PASSWORD_ERROR
  1044: "Denied", // ER_DBACCESS_DENIED_ERROR
  1142: "Denied", // ER_TABLEACCESS_DENIED_ERROR
  1227: "Denied", // ER_SPECIFIC_ACCESS_DENIED_ERROR
  1054: "Invalid", // ER_BAD_FIELD_ERROR
  1064: "Invalid", // ER_PARSE_ERROR
  1146: "Invalid", // ER_NO_SUCH_TABLE
  1062: "Invalid", // ER_DUP_ENTRY
  1406: "Invalid", // ER_DATA_TOO_LONG
  4025: "Invalid", // ER_CONSTRAINT_FAILED
  1205: "Deadline", // ER_LOCK_WAIT_TIMEOUT
  1969: "Deadline", // ER_STATEMENT_TIMEOUT
  3024: "Deadline", // ER_QUERY_TIMEOUT
  1021: "Unavailable", // ER_DISK_FULL
  1040: "Unavailable", // ER_CON_COUNT_ERROR
  1046: "Unavailable", // ER_NO_DB_ERROR
  1047: "Unavailable", // ER_UNKNOWN_COM_ERROR
  1049: "Unavailable", // ER_BAD_DB_ERROR
  1053: "Unavailable", // ER_SERVER_SHUTDOWN
  1105: "Unavailable", // ER_UNKNOWN_ERROR
  1114: "Unavailable", // ER_RECORD_FILE_FULL
  1226: "Unavailable", // ER_USER_LIMIT_REACHED
  1290: "Unavailable", // ER_OPTION_PREVENTS_STATEMENT
  1792: "Unavailable", // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
  1836: "Unavailable", // ER_READ_ONLY_MODE
  1927: "Unavailable", // ER_CONNECTION_KILLED
  4031: "Unavailable", // ER_CLIENT_INTERACTION_TIMEOUT
  9001: "Unavailable", // ProxySQL: no server of its hostgroup
  65_000: "Unavailable" // nobody's
}

/** By extended result code. */
const sqliteReasons: Readonly<Record<number, Reason>> = {
  1: "Invalid", // SQLITE_ERROR
  3: "Denied", // SQLITE_PERM
  5: "Deadline", // SQLITE_BUSY
  517: "Deadline", // SQLITE_BUSY_SNAPSHOT
  6: "Deadline", // SQLITE_LOCKED
  7: "Unavailable", // SQLITE_NOMEM
  8: "Unavailable", // SQLITE_READONLY
  1032: "Unavailable", // SQLITE_READONLY_DBMOVED
  10: "Unavailable", // SQLITE_IOERR
  778: "Unavailable", // SQLITE_IOERR_WRITE
  11: "Unavailable", // SQLITE_CORRUPT
  13: "Unavailable", // SQLITE_FULL
  14: "Unavailable", // SQLITE_CANTOPEN
  18: "Invalid", // SQLITE_TOOBIG
  19: "Invalid", // SQLITE_CONSTRAINT
  2067: "Invalid", // SQLITE_CONSTRAINT_UNIQUE
  20: "Invalid", // SQLITE_MISMATCH
  23: "Denied", // SQLITE_AUTH
  26: "Unavailable", // SQLITE_NOTADB
  99: "Unavailable" // nobody's
}

/** Makes each change of a circuit fail with this code of the server. */
const changesFailWith = ({ name }: Database, prefix: string, code: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => {
    const statements = name === "Postgres"
      ? [
        `CREATE OR REPLACE FUNCTION ${prefix}fails() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '${code}'; END $$`,
        `CREATE OR REPLACE TRIGGER fails BEFORE UPDATE ON ${prefix}states
FOR EACH ROW EXECUTE FUNCTION ${prefix}fails()`
      ]
      : [
        `CREATE OR REPLACE TRIGGER ${prefix}fails BEFORE UPDATE ON ${prefix}states FOR EACH ROW
SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = ${code}, MESSAGE_TEXT = 'no'`
      ]
    return Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
  })

describe("errors of drivers", () => {
  it("each error number of MySQL and MariaDB has its reason, and an unknown one is Unavailable (S1)", () => {
    for (const [errno, reason] of Object.entries(mysqlReasons)) {
      const error = mysqlError(Object.assign(new Error("no"), { code: "ER", errno: Number(errno) }))
      assert.strictEqual(storageErrorOf("sync")(error).reason, reason, errno)
    }
    for (
      const [code, reason] of [["ECONNREFUSED", "Unavailable"], ["PROTOCOL_SEQUENCE_TIMEOUT", "Deadline"]] as const
    ) {
      const error = mysqlError(Object.assign(new Error("no"), { code, fatal: true }))
      assert.strictEqual(storageErrorOf("sync")(error).reason, reason, code)
    }
  })

  it("each result code of SQLite has its reason, and an unknown one is Unavailable (S1)", () => {
    for (const [errno, reason] of Object.entries(sqliteReasons)) {
      const error = sqliteError({ message: "no", errno: Number(errno) })
      assert.strictEqual(storageErrorOf("sync")(error).reason, reason, errno)
    }
    assert.strictEqual(storageErrorOf("sync")(sqliteError({ message: "no" })).reason, "Unavailable")
  })

  it("each code that says that another server should be asked costs the connection, and no other code does (S2)", () => {
    const lost = (errno: number) =>
      isMysqlConnectionLost(mysqlError(Object.assign(new Error("no"), { code: "ER", errno })))
    const mysqlLost = [1040, 1047, 1053, 1203, 1290, 1792, 1836, 1927, 4031, 9001]
    assert.deepStrictEqual(
      Object.keys(mysqlReasons).map(Number).filter(lost),
      mysqlLost.filter((errno) => errno !== 1203)
    )
    assert.isTrue(mysqlLost.every(lost))
    const wrong = (code: string) =>
      isWrongPostgresServer(
        new SqlError({ reason: new UnknownError({ cause: Object.assign(new Error("no"), { code }) }) })
      )
    const codes = Object.keys(postgresReasons)
    assert.deepStrictEqual(codes.filter(wrong), ["25006", "57P01", "57P03", "57P04"])
  })

  it("an error that another driver does not classify is judged by its SQLSTATE (S1)", () => {
    const reasons = { "22001": "Invalid", "42P01": "Invalid", "25006": "Unavailable", XX000: "Unavailable" }
    for (const [code, reason] of Object.entries(reasons)) {
      const cause = Object.assign(new Error("no"), { code })
      const error = new SqlError({ reason: new UnknownError({ cause }) })
      assert.strictEqual(storageErrorOf("sync")(error).reason, reason, code)
    }
  })

  const servers = [
    [postgres, Object.entries(postgresReasons)],
    [mariadb, Object.entries(mysqlReasons)]
  ] as const
  for (const [database, reasons] of servers) {
    it.live(`each code that a server answers has its reason, and an unknown one is Unavailable (S1): ${database.name}`, () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        const it = circuitOf(yield* build(database.client(), { prefix }), "circuit")
        yield* it.open()
        const found: Record<string, string> = {}
        for (const [code] of reasons) {
          yield* changesFailWith(database, prefix, code)
          found[code] = (yield* errorOf(it.operate({ _tag: "Reset" }))).reason
        }
        assert.deepStrictEqual(found, Object.fromEntries(reasons))
      }).pipe(Effect.scoped, Effect.provide(layerOn(database))))
  }

  it.live("SQLite that is read-only, full, or no database is Unavailable, and works again afterwards (S1)", () =>
    Effect.gen(function*() {
      const directory = yield* Effect.promise(temporaryDirectory)
      const client = yield* Layer.build(Sqlite.layer({ file: join(directory, "circuits.sqlite") }))
      const sql = Context.get(client, SqlClient.SqlClient)
      const storage = yield* build(Layer.succeed(SqlClient.SqlClient, sql))
      const it = circuitOf(storage, "circuit")
      yield* it.open()
      const [pages] = yield* sql<{ readonly page_count: number }>`PRAGMA page_count`
      const faults = [
        ["PRAGMA query_only = 1", "PRAGMA query_only = 0", it.operate({ _tag: "Reset" })],
        [
          `PRAGMA max_page_count = ${pages!.page_count}`,
          "PRAGMA max_page_count = 1073741823",
          storage.sync(
            times(100).map((index) => ({
              circuit: `${index}${"x".repeat(200)}`,
              instance: "a",
              sequence: 1,
              generation: 0,
              delta: failures(1),
              withins: [1000]
            }))
          )
        ]
      ] as const
      for (const [begin, end, operation] of faults) {
        yield* sql.unsafe(begin)
        const error = yield* errorOf(operation as Effect.Effect<unknown, StorageError>)
        assert.strictEqual(error.reason, "Unavailable", begin)
        assert.match(said(error), /SQLite cannot use the file/)
        yield* sql.unsafe(end)
        yield* operation
      }
      const text = yield* errorOf(circuitOf(yield* build(Sqlite.layer({ file: "package.json" })), "circuit").read)
      assert.deepStrictEqual([text.reason, said(text).includes("look at its disk")], ["Unavailable", true])
    }).pipe(Effect.scoped))
})

describe.each(databases)("$name", (database) => {
  it.live(`a missing column is said to be of an older schema, and not a missing table (S13): ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const it = circuitOf(yield* build(database.client(), { prefix }), "circuit")
      yield* it.open()
      const sql = yield* SqlClient.SqlClient
      yield* sql.unsafe(`ALTER TABLE ${prefix}states RENAME COLUMN document TO gone`)
      const error = yield* errorOf(it.read)
      assert.strictEqual(error.reason, "Invalid")
      assert.match(said(error), /lacks a column, so it is of an older schema/)
      yield* sql.unsafe(`ALTER TABLE ${prefix}states RENAME COLUMN gone TO document`)
      assert.strictEqual((yield* it.read).state._tag, "Open")
    }).pipe(Effect.scoped, Effect.provide(layerOn(database))))
})

describe("the lock under which MySQL makes its tables", () => {
  /** A MariaDB that answers `GET_LOCK` in this way. */
  const answering = (answer: Effect.Effect<ReadonlyArray<unknown>, SqlError>) =>
    Layer.effect(
      SqlClient.SqlClient,
      Effect.map(SqlClient.SqlClient, (sql) => {
        const reserve = Effect.map(sql.reserve, (connection) => ({
          ...connection,
          execute: (text: string, params: ReadonlyArray<unknown>) =>
            text.includes("GET_LOCK") ? answer : connection.execute(text, params, undefined)
        }))
        return new Proxy(sql, { get: (target, key) => key === "reserve" ? reserve : Reflect.get(target, key) })
      })
    ).pipe(Layer.provide(mariadb.client()))

  const refusal = mysqlError(
    Object.assign(new Error("Percona-XtraDB-Cluster prohibits use of GET_LOCK"), { code: "ER", errno: 1105 })
  )
  const answers: ReadonlyArray<readonly [string, Effect.Effect<ReadonlyArray<unknown>, SqlError>, Reason, RegExp]> = [
    ["0", Effect.succeed([{ locked: 0 }]), "Deadline", /another instance holds the lock/],
    ["NULL", Effect.succeed([{ locked: null }]), "Unavailable", /gave no lock/],
    ["error 1105", Effect.fail(refusal), "Unavailable", /run what SqlSchema.print lists/]
  ]
  for (const [name, answer, reason, message] of answers) {
    it.live(`a lock that is answered with ${name} makes no tables and is an error in words (S13)`, () =>
      Effect.gen(function*() {
        const prefix = freshPrefix()
        const storage = yield* build(answering(answer), { prefix })
        const error = yield* errorOf(circuitOf(storage, "circuit").read)
        assert.strictEqual(error.reason, reason)
        assert.match(`${said(error)} ${String((error.cause as Error).cause)}`, message)
        const sql = yield* SqlClient.SqlClient
        const found = yield* sql`
SELECT table_name FROM information_schema.tables WHERE table_name = ${`${prefix}states`}`
        assert.lengthOf(found, 0)
      }).pipe(Effect.scoped, Effect.provide(layerOn(mariadb))))
  }
})
