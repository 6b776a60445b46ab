/** Faults of databases: the errors that they cause, and recovery without a restart of the process. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, type Duration, Effect, Fiber, Layer, Redacted, Schedule, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { createServer, type Server, type Socket } from "node:net"
import { circuitOf, failures } from "../../src/conformance/Law.ts"
import * as Mysql from "../../src/layers/Mysql.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import { tablesOf } from "../../src/sql/Schema.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { Storage, type StorageError } from "../../src/Storage/Storage.ts"
import { eventually } from "../support/machine.ts"
import { MariaDbServer } from "../support/servers/mariadb.ts"
import { PostgresServer } from "../support/servers/postgres.ts"
import { freePort } from "../support/servers/processes.ts"
import { serverUrl } from "../support/servers/shared.ts"
import {
  build,
  circuit,
  type Database,
  databases,
  errorOf,
  freshPrefix,
  layerOn,
  mariadb,
  PATIENT_CLIENT,
  postgres
} from "./databases.ts"

const network = [postgres, mariadb]

const clientOf = (url: string, options: { readonly connectTimeout?: Duration.Input } = PATIENT_CLIENT) =>
  url.startsWith("postgres")
    ? Postgres.layer({ ...options, url: Redacted.make(url) })
    : Mysql.layer({ ...options, url: Redacted.make(url) })

const urlOf = ({ name }: { readonly name: string }) => serverUrl(name === "Postgres" ? "postgres" : "mysql")

const said = ({ cause }: StorageError) => cause instanceof Error ? cause.message : String(cause)

/** Retries until a server that has started again answers. */
const recovers = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.retry(effect, { times: 1000, schedule: Schedule.spaced("100 millis") })

/** Waits until an announcement with this tag has arrived. */
const hears = (heard: ReadonlyArray<string>, tag: string): Effect.Effect<void> =>
  eventually(`${tag} is announced`, Effect.sync(() => heard.includes(tag)))

/** A transaction that the server does not end while it is idle, because a late machine may leave it idle. */
const transaction = <A, E, R>({ name }: Database, body: Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    sql.withTransaction(
      Effect.andThen(
        name === "Postgres"
          ? sql`SET LOCAL idle_in_transaction_session_timeout = 0`
          : sql`SET SESSION idle_transaction_timeout = 0`,
        body
      )
    ))

/** How many transactions wait for a lock of another. */
const blocked = ({ name }: Database) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(
      name === "Postgres"
        ? sql`SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'`
        : sql`SELECT requesting_trx_id FROM information_schema.innodb_lock_waits`,
      (rows) => rows.length
    ))

describe.each(network)("$name", (database) => {
  it.live(`a wrong password is Denied, and is in no error: ${database.name}`, () =>
    Effect.gen(function*() {
      const url = new URL(urlOf(database))
      url.password = "s3same"
      const storage = yield* build(clientOf(url.href))
      const error = yield* errorOf(circuitOf(storage, "circuit").read)
      assert.deepInclude(error, { operation: "sync", circuit: "circuit", reason: "Denied" })
      assert.match(said(error), /refused the user name or the password/)
      assert.notInclude(JSON.stringify(error) + said(error) + String((error.cause as Error).stack), "s3same")
    }).pipe(Effect.scoped))

  it.live(`a storage without a server is built, and its requests are Unavailable: ${database.name}`, () =>
    Effect.gen(function*() {
      const url = new URL(urlOf(database))
      url.port = String(yield* Effect.promise(freePort))
      const storage = yield* build(clientOf(url.href))
      const it = circuitOf(storage, "circuit")
      assert.strictEqual((yield* errorOf(it.open())).reason, "Unavailable")
      assert.strictEqual((yield* errorOf(Stream.runCollect(storage.list))).reason, "Unavailable")
      assert.strictEqual((yield* errorOf(storage.history("circuit"))).reason, "Unavailable")
    }).pipe(Effect.scoped))

  it.live(`a request to a server that never answers fails at its deadline: ${database.name}`, () =>
    Effect.gen(function*() {
      const sockets = new Set<Socket>()
      const server = yield* Effect.acquireRelease(
        Effect.callback<Server>((resume) => {
          const server = createServer((socket) => sockets.add(socket))
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.sync(() => {
            for (const socket of sockets) socket.destroy()
            server.close()
          })
      )
      const url = new URL(urlOf(database))
      const address = server.address()
      url.port = String(typeof address === "object" ? address?.port : "")
      const storage = yield* build(clientOf(url.href, {}), { deadline: "300 millis" })
      const error = yield* errorOf(circuitOf(storage, "circuit").read)
      assert.strictEqual(error.reason, "Deadline")
      assert.match(said(error), /no answer within 300 ms/)
    }).pipe(Effect.scoped))

  it.live(`a request without a free connection fails at its deadline, and works when one is free: ${database.name}`, () =>
    Effect.gen(function*() {
      const client = Layer.fresh(database.client({ maxConnections: 2 }))
      const layer = Layer.provideMerge(SqlStorage.layer({ deadline: "500 millis" }), client)
      yield* Effect.gen(function*() {
        const it = yield* circuit()
        yield* recovers(it.read)
        const sql = yield* SqlClient.SqlClient
        yield* Effect.scoped(Effect.gen(function*() {
          yield* sql.reserve
          yield* sql.reserve
          assert.strictEqual((yield* errorOf(it.read)).reason, "Deadline")
        }))
        yield* recovers(it.open())
      }).pipe(Effect.provide(layer))
    }))

  it.live(`a lease that waits for a locked row is granted whole, and reports do not wait: ${database.name}`, () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const storage = yield* Storage
      const [it, other] = [yield* circuit("locked"), yield* circuit("other")]
      const LEASE = 1000
      yield* it.report(failures(1))
      const { snapshot: { generation } } = yield* it.operate({ _tag: "HalfOpen" })
      const asked = yield* transaction(
        database,
        Effect.gen(function*() {
          yield* sql`SELECT 1 AS one FROM circuit_breaker_states WHERE service_name = ${it.name} FOR UPDATE`
          // `runFork` keeps this request out of the transaction.
          const asking = Effect.runFork(
            storage.probe(it.name, {
              _tag: "Ask",
              lease: { instance: "a", sequence: 1 },
              generation,
              duration: LEASE,
              probes: 1
            })
          )
          // Reports do not wait for the lock, nor do changes of other circuits.
          yield* it.report(failures(1), { generation, sequence: 2 })
          yield* other.open()
          yield* eventually("the request for the lease waits for the lock", Effect.map(blocked(database), (n) => n > 0))
          yield* Effect.sleep(LEASE + 100)
          assert.isUndefined(asking.pollUnsafe())
          return asking
        })
      )
      const { granted, snapshot: { state } } = yield* Fiber.join(asked)
      assert.isTrue(granted)
      assert.deepInclude(state, { live: 1 })
      assert.closeTo(state._tag === "HalfOpen" ? state.nextLapse ?? 0 : 0, LEASE, 1)
      // Be the machine late, a lease that has lapsed is settled like any other.
      assert.isTrue((yield* it.settle("a", { _tag: "Ignored" })).granted)
    }).pipe(Effect.provide(layerOn(database))))

  it.live(`a report inside of a transaction of the program survives its rollback: ${database.name}`, () =>
    Effect.gen(function*() {
      const it = yield* circuit()
      const body = Effect.andThen(it.report(failures(1)), it.open())
      yield* Effect.flip(transaction(database, Effect.andThen(body, Effect.fail("no"))))
      assert.deepInclude((yield* it.read).lifetime, { failure: 1, opened: 1 })
    }).pipe(Effect.provide(layerOn(database))))

  it.live(`a user without the right to create tables is Denied, and works when they exist: ${database.name}`, () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const [prefix, user] = [freshPrefix(), freshPrefix()]
      const url = new URL(urlOf(database))
      yield* database.name === "Postgres"
        ? sql.unsafe(`CREATE ROLE ${user} LOGIN PASSWORD 'secret'`)
        : Effect.andThen(
          sql.unsafe(`CREATE USER ${user}@'127.0.0.1' IDENTIFIED BY 'secret'`),
          sql.unsafe(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${url.pathname.slice(1)}.* TO ${user}@'127.0.0.1'`)
        )
      url.username = user
      url.password = "secret"
      const storage = yield* build(clientOf(url.href), { prefix })
      const it = circuitOf(storage, "circuit")
      const error = yield* errorOf(it.report(failures(1)))
      assert.strictEqual(error.reason, "Denied")
      assert.match(said(error), /could not be created|lacks a right/)
      yield* circuitOf(yield* build(database.client(), { prefix }), "circuit").open()
      if (database.name === "Postgres") {
        const mayNot = yield* errorOf(it.report(failures(1)))
        assert.strictEqual(mayNot.reason, "Denied")
        for (const table of Object.values(tablesOf(prefix, undefined))) {
          yield* sql.unsafe(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO ${user}`)
        }
      }
      yield* it.report(failures(1))
      assert.strictEqual((yield* it.read).state._tag, "Open")
    }).pipe(Effect.scoped, Effect.provide(layerOn(database))))
})

describe.each(databases)("$name", (database) => {
  it.live(`a missing table is Invalid, and no circuit is taken for Closed: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storage = yield* build(database.client(), { prefix })
      const it = circuitOf(storage, "circuit")
      yield* it.open()
      const sql = yield* SqlClient.SqlClient
      yield* sql`ALTER TABLE ${sql(`${prefix}states`)} RENAME TO ${sql(`${prefix}gone`)}`
      for (const operation of [it.read, it.operate({ _tag: "Reset" }), Stream.runCollect(storage.list)]) {
        const error = yield* errorOf(operation as Effect.Effect<unknown, StorageError>)
        assert.strictEqual(error.reason, "Invalid")
        assert.match(said(error), /a circuit breaker table is missing/)
      }
      yield* sql`ALTER TABLE ${sql(`${prefix}gone`)} RENAME TO ${sql(`${prefix}states`)}`
      assert.strictEqual((yield* it.read).state._tag, "Open")
    }).pipe(Effect.scoped, Effect.provide(layerOn(database))))
})

describe("SQLite", () => {
  it.live("a path that is no SQLite file fails with a message", () =>
    Effect.gen(function*() {
      for (const file of ["/dev/null/circuits", "package.json"]) {
        const error = yield* errorOf(circuitOf(yield* build(Sqlite.layer({ file })), "circuit").read)
        assert.include(["Unavailable", "Invalid"], error.reason)
        assert.notStrictEqual(said(error), "")
      }
    }).pipe(Effect.scoped))
})

describe("a Postgres that crashes", () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await PostgresServer.start()
  })
  afterAll(() => server.stop())

  it.live("a storage works again after Postgres crashed, has all that was committed, and announces changes", () =>
    Effect.gen(function*() {
      const storage = yield* build(clientOf(server.url))
      const it = circuitOf(storage, "circuit")
      yield* it.report(failures(3))
      const { snapshot: { generation } } = yield* it.open()
      const listen = (heard: Array<string>) =>
        Stream.runForEach(storage.changes, ({ _tag }) => Effect.sync(() => heard.push(_tag)))
      const [before, after]: [Array<string>, Array<string>] = [[], []]
      const listening = yield* Effect.forkScoped(Effect.exit(listen(before)))
      yield* hears(before, "Subscribed")
      yield* Effect.promise(() => server.crash())
      // The crash has ended the subscription with a failure.
      assert.strictEqual((yield* Fiber.join(listening))._tag, "Failure")
      assert.strictEqual((yield* recovers(it.read)).generation, generation)
      yield* Effect.forkScoped(recovers(listen(after)))
      yield* hears(after, "Subscribed")
      yield* it.operate({ _tag: "Reset" })
      yield* hears(after, "Changed")

      // The server ends only the connection of the subscription.
      const cutOff: Array<string> = []
      const cut = yield* Effect.forkScoped(Effect.exit(listen(cutOff)))
      yield* hears(cutOff, "Subscribed")
      const admin = yield* Layer.build(Layer.fresh(clientOf(server.url)))
      const sql = Context.get(admin, SqlClient.SqlClient)
      yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'`
      assert.strictEqual((yield* Fiber.join(cut))._tag, "Failure")
    }).pipe(Effect.scoped))
})

describe("a MariaDB that restarts", () => {
  let server: MariaDbServer
  beforeAll(async () => {
    server = await MariaDbServer.start()
  })
  afterAll(() => server.stop())

  it.live("a storage works again after MariaDB restarted, and has all that was committed", () =>
    Effect.gen(function*() {
      const storage = yield* build(clientOf(server.url))
      const it = circuitOf(storage, "circuit")
      yield* it.report(failures(3))
      const { snapshot: { generation } } = yield* it.open()
      yield* Effect.promise(() => server.restart())
      const seen = yield* recovers(it.read)
      assert.strictEqual(seen.generation, generation)
      yield* it.operate({ _tag: "Reset" })
    }).pipe(Effect.scoped))
})
