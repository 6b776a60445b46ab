/** The URLs of databases: one table for both drivers, and what a server makes of them. */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { circuitOf } from "../../src/conformance/Law.ts"
import * as Mysql from "../../src/layers/Mysql.ts"
import * as MysqlStorageLive from "../../src/layers/MysqlStorageLive.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as PostgresStorageLive from "../../src/layers/PostgresStorageLive.ts"
import { StorageLive } from "../../src/layers/StorageLive.ts"
import { type Address, type Driver, readDatabaseUrl, urlFrom } from "../../src/sql/DatabaseUrl.ts"
import { PostgresServer } from "../support/servers/postgres.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { build, errorOf, freshPrefix, PATIENT_CLIENT } from "./databases.ts"

const read: ReadonlyArray<readonly [Driver, url: string, Address]> = [
  ["postgres", "postgres://h", { host: "h" }],
  ["postgres", "postgresql://u:p@h:5433/d", { username: "u", password: "p", host: "h", port: 5433, database: "d" }],
  ["postgres", "postgres://u:p@[::1]:5433/d", { username: "u", password: "p", host: "::1", port: 5433, database: "d" }],
  ["postgres", "postgres://u:a%c@h/d", { username: "u", password: "a%c", host: "h", database: "d" }],
  ["postgres", "postgres://u:100%25%c3%a9@h/d", { username: "u", password: "100%é", host: "h", database: "d" }],
  ["postgres", "postgres://u:a@b:c#d@h/d", { username: "u", password: "a@b:c#d", host: "h", database: "d" }],
  ["postgres", "postgres://u@/d?host=/tmp", { username: "u", database: "d", socket: "/tmp" }],
  ["postgres", "postgres://u@/d?host=/cloudsql/p:r:i", { username: "u", database: "d", socket: "/cloudsql/p:r:i" }],
  ["postgres", "postgres://%2Fvar%2Frun/d", { socket: "/var/run", database: "d" }],
  ["postgres", "postgres:///d?host=::1&port=1", { database: "d", host: "::1", port: 1 }],
  ["postgres", "postgres://h/a%20b?user=u&password=a%26b", {
    host: "h",
    database: "a b",
    username: "u",
    password: "a&b"
  }],
  ["postgres", "postgres://h?dbname=d&application_name=shop&options=-c%20x%3D1", {
    host: "h",
    database: "d",
    applicationName: "shop",
    startupOptions: "-c x=1"
  }],
  ["postgres", "postgres://h/d?connect_timeout=3&connection_limit=4&pgbouncer=true", {
    host: "h",
    database: "d",
    connectTimeoutMillis: 3000,
    maxConnections: 4,
    pooler: true
  }],
  ["postgres", "postgres://h/d?sslmode=require", { host: "h", database: "d", tls: "on" }],
  ["postgres", "postgres://h/d?sslmode=verify-full", { host: "h", database: "d", tls: "identity" }],
  ["postgres", "postgres://h/d?sslmode=prefer", { host: "h", database: "d", tls: "preferred" }],
  ["postgres", "postgres://h/d?sslmode=no-verify", { host: "h", database: "d", tls: "unverified" }],
  ["postgres", "postgres://h/d?ssl=true&sslmode=require", { host: "h", database: "d", tls: "on" }],
  ["mysql", "mysql://u:p@[::1]/d", { username: "u", password: "p", host: "::1", database: "d" }],
  ["mysql", "mariadb://u:a%c@h:3307/d", { username: "u", password: "a%c", host: "h", port: 3307, database: "d" }],
  ["mysql", "mysql://u@localhost/d?socketPath=/run/m.sock", {
    username: "u",
    host: "localhost",
    database: "d",
    socket: "/run/m.sock"
  }],
  ["mysql", "mysql://h", { host: "h" }],
  ["mysql", "mysql://h/d?ssl-mode=REQUIRED", { host: "h", database: "d", tls: "on" }],
  ["mysql", "mysql://h/d?ssl-mode=VERIFY_IDENTITY", { host: "h", database: "d", tls: "identity" }],
  ["mysql", "mysql://h/d?ssl=true", { host: "h", database: "d", tls: "on" }],
  ["mysql", "mysql://h/d?tls=true&connectionLimit=4&connectTimeout=500", {
    host: "h",
    database: "d",
    tls: "on",
    maxConnections: 4,
    connectTimeoutMillis: 500
  }]
]

const refused: ReadonlyArray<readonly [Driver, url: string, RegExp]> = [
  ["postgres", "mysql://u:s3same@h/d", /must be like postgres:\/\//],
  ["postgres", "s3same", /must be like postgres:\/\//],
  ["postgres", "postgres://u:s3same@h1,h2:5432/d", /must name one host/],
  ["postgres", "postgres://u:s3same@h1:5432,h2:5432/d", /must name one host/],
  ["postgres", "postgres://u:s3same@h:99999/d", /port from 1 to 65535/],
  ["postgres", "postgres://u:s3same@[::1/d", /IPv6 address in brackets/],
  ["postgres", "postgres://u:s3/same@h/d", /percent-encode/],
  ["postgres", "postgres://u:s3?same=1@h/d", /percent-encode/],
  ["postgres", "postgres://u:s3same@h/d?sslrootcert=ca.pem", /"sslrootcert", which is not read/],
  ["postgres", "postgres://u:s3same@h/d?schema=ops", /"schema", which is not read/],
  ["postgres", "postgres://u:s3same@h/d?sslmode=maybe", /sslmode=maybe/],
  ["postgres", "postgres://u:s3same@h/d?channel_binding=require", /channel_binding=require/],
  ["postgres", "postgres://u:s3same@h/d?sslmode=require&ssl=false", /TLS in two ways/],
  ["postgres", "postgres://u:s3same@h/d?pgbouncer=perhaps", /pgbouncer as true or false/],
  ["mysql", "postgres://u:s3same@h/d", /must be like mysql:\/\//],
  ["mysql", "mysql://u:s3same@h1:3306,h2:3306/d", /must name one host/],
  ["mysql", "mysql://u:s3same@h/d?ssl-ca=ca.pem", /"ssl-ca", which is not read/],
  ["mysql", "mysql://u:s3same@h/d?useSSL=maybe", /useSSL=maybe/],
  ["mysql", "mysql://u:s3same@h/d?charset=latin1", /"charset", which is not read/]
]

const told = (make: () => unknown): string => {
  try {
    make()
  } catch (error) {
    assert.instanceOf(error, RangeError)
    return error.message
  }
  return "nothing"
}

describe("URLs of databases", () => {
  it("both drivers' URLs are read by one reader (S8)", () => {
    for (const [driver, url, address] of read) assert.deepStrictEqual(readDatabaseUrl(driver, url), address, url)
  })

  it("a URL that cannot be read, or asks for what cannot be given, is refused in words without its password (S7, S8)", () => {
    for (const [driver, url, message] of refused) {
      const said = told(() => readDatabaseUrl(driver, url))
      assert.match(said, message)
      assert.notMatch(said, /s3|same/)
      // The layers, too.
      const layer = driver === "postgres" ? Postgres.layer : Mysql.layer
      assert.strictEqual(told(() => layer({ url: Redacted.make(url) })), said)
    }
  })

  it("a MySQL URL without a database, or with TLS that is only preferred, is refused at once (S7, S8)", () => {
    const layer = (url: string) => () => Mysql.layer({ url: Redacted.make(url) })
    assert.match(told(layer("mysql://u:s3same@h")), /needs a database/)
    assert.match(told(layer("mysql://u:s3same@h/d?ssl-mode=PREFERRED")), /always or never/)
    assert.strictEqual(told(() => Mysql.layer({ url: Redacted.make("mysql://h"), database: "d" })), "nothing")
  })

  it.effect("a URL from the environment that cannot be read is a ConfigError that names the variable (S7, S8)", () =>
    Effect.gen(function*() {
      const url = "u:s3same@h/d?tunnel=1"
      const env = {
        DATABASE_URL: `postgres://${url}`,
        MYSQL_URL: `mysql://${url}`,
        CIRCUIT_BREAKER_PERSISTENCE: "database"
      }
      const failing: ReadonlyArray<readonly [RegExp, Layer.Layer<never, Config.ConfigError>]> = [
        [
          /DATABASE_URL has the parameter "tunnel"/,
          Layer.effectDiscard(Layer.build(PostgresStorageLive.PostgresStorageLive))
        ],
        [/MYSQL_URL has the parameter "tunnel"/, Layer.effectDiscard(Layer.build(MysqlStorageLive.MysqlStorageLive))],
        [/DATABASE_URL has the parameter "tunnel"/, Layer.effectDiscard(Layer.build(StorageLive))],
        [/"tunnel"/, Layer.effectDiscard(Layer.build(Mysql.layerConfig({ url: Config.Redacted("MYSQL_URL") })))],
        [/"tunnel"/, Layer.effectDiscard(Layer.build(Postgres.layerConfig({ url: Config.Redacted("DATABASE_URL") })))],
        [
          /"tunnel"/,
          Layer.effectDiscard(Layer.build(MysqlStorageLive.layerConfig({ url: Config.Redacted("MYSQL_URL") })))
        ]
      ]
      for (const [message, layer] of failing) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer))).pipe(
          Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
        )
        assert.match(String(error), message)
        assert.notInclude(String(error), "s3same")
      }
      assert.isTrue(Config.isConfig(urlFrom("mysql", "MYSQL_URL")))
    }))
})

describe("URLs of databases, on servers", () => {
  it.live("a URL that asks for TLS is refused at a server without TLS, and never connects in plain text (S7)", () =>
    Effect.gen(function*() {
      const mysqlUrl = serverUrl("mysql")
      const urls = [
        ...["ssl-mode=REQUIRED", "ssl=true", "tls=1", "sslmode=verify-full"].map((query) => `${mysqlUrl}?${query}`),
        ...["sslmode=require", "ssl=true"].map((query) => `${serverUrl("postgres")}?${query}`)
      ]
      for (const text of urls) {
        const url = Redacted.make(text)
        const client = text.startsWith("mysql")
          ? Mysql.layer({ ...PATIENT_CLIENT, url })
          : Postgres.layer({ ...PATIENT_CLIENT, url })
        const error = yield* errorOf(circuitOf(yield* build(client), "circuit").read)
        assert.strictEqual(error.reason, "Unavailable", text)
        assert.match(String((error.cause as Error).cause ?? error.cause), /secure connection|TLS/)
      }
      const plain = Postgres.layer({ ...PATIENT_CLIENT, url: Redacted.make(`${serverUrl("postgres")}?sslmode=prefer`) })
      yield* circuitOf(yield* build(plain), "circuit").read
    }).pipe(Effect.scoped))

  it.live("a MariaDB is reached over its socket (S8)", () =>
    Effect.gen(function*() {
      const user = freshPrefix()
      const admin = yield* Layer.build(Mysql.layer({ ...PATIENT_CLIENT, url: Redacted.make(serverUrl("mysql")) }))
      const sql = Context.get(admin, SqlClient.SqlClient)
      yield* sql.unsafe(`CREATE USER ${user}@localhost IDENTIFIED BY 'a%c'`)
      const database = new URL(serverUrl("mysql")).pathname.slice(1)
      yield* sql.unsafe(`GRANT ALL ON ${database}.* TO ${user}@localhost`)
      const [row] = yield* sql<{ readonly path: string }>`SELECT @@socket AS path`
      const url = Redacted.make(`mysql://${user}:a%c@localhost/${database}?socketPath=${row!.path}`)
      yield* circuitOf(yield* build(Mysql.layer({ ...PATIENT_CLIENT, url })), "circuit").read
    }).pipe(Effect.scoped))

  it.live("a Postgres is reached over its socket, in each of the forms (S8)", () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => PostgresServer.start({ unix_socket_directories: "/tmp" })),
        (server) => Effect.promise(() => server.stop())
      )
      for (
        const url of [
          `postgres://postgres:secret@/postgres?host=/tmp&port=${server.port}`,
          `postgres://postgres:secret@%2Ftmp:${server.port}/postgres`
        ]
      ) {
        const client = Postgres.layer({ ...PATIENT_CLIENT, url: Redacted.make(url) })
        yield* circuitOf(yield* build(client), "circuit").read
        const sql = Context.get(yield* Layer.build(Layer.fresh(client)), SqlClient.SqlClient)
        const [row] = yield* sql<{ readonly address: string | null }>`SELECT inet_client_addr() AS address`
        assert.isNull(row!.address)
      }
    }).pipe(Effect.scoped))
})
