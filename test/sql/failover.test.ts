/** Connections to a server that takes no writes: a proxy, or a new session, may lead elsewhere by then. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { circuitOf, failures } from "../../src/conformance/Law.ts"
import * as Mysql from "../../src/layers/Mysql.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { build, errorOf, freshPrefix, layerOn, mariadb, PATIENT_CLIENT, postgres } from "./databases.ts"

/** The URL of the shared server for another user. */
const urlFor = (name: "postgres" | "mysql", user: string): Redacted.Redacted => {
  const url = new URL(serverUrl(name))
  url.username = user
  return Redacted.make(url.href)
}

describe("a connection whose transaction did not end", () => {
  for (const end of ["COMMIT", "ROLLBACK"]) {
    it.live(`is replaced after the server refused ${end}, which it no longer has prepared (S6)`, () =>
      Effect.gen(function*() {
        const client = Postgres.layer({
          ...PATIENT_CLIENT,
          url: Redacted.make(serverUrl("postgres")),
          maxConnections: 1
        })
        const sql = Context.get(yield* Layer.build(client), SqlClient.SqlClient)
        const session = Effect.map(sql<{ readonly pid: number }>`SELECT pg_backend_pid() AS pid`, ([row]) => row!.pid)
        // Both statements are prepared from here on.
        const before = yield* sql.withTransaction(session)
        yield* Effect.flip(sql.withTransaction(Effect.fail("rolls back")))
        // What a session of a pooler looks like that never saw them.
        const forgets = Effect.andThen(sql.unsafe("DEALLOCATE ALL"), end === "COMMIT" ? Effect.void : Effect.fail("no"))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(sql.withTransaction(forgets))))
        assert.notStrictEqual(yield* sql.withTransaction(session), before)
      }).pipe(Effect.scoped))
  }
})

describe("a server that takes no writes", () => {
  it.live("a Postgres session that is read-only is replaced, so that reports pass once the server takes writes (S2)", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const user = freshPrefix()
      yield* sql.unsafe(`CREATE ROLE ${user} SUPERUSER LOGIN PASSWORD 'secret'`)
      // It holds for sessions that begin from now on, and for as long as they last.
      yield* sql.unsafe(`ALTER ROLE ${user} SET default_transaction_read_only = on`)
      for (const pooler of [false, true]) {
        yield* sql.unsafe(`ALTER ROLE ${user} SET default_transaction_read_only = on`)
        const client = Postgres.layer({
          ...PATIENT_CLIENT,
          url: urlFor("postgres", user),
          pooler,
          maxConnections: 1,
          connectionTimeToLive: "1 day"
        })
        const it = circuitOf(yield* build(client), freshPrefix())
        const error = yield* errorOf(it.report(failures(1)))
        assert.strictEqual(error.reason, "Unavailable")
        assert.match(String(error.cause), /the server takes no writes/)
        yield* sql.unsafe(`ALTER ROLE ${user} RESET default_transaction_read_only`)
        yield* it.report(failures(1))
      }
    }).pipe(Effect.scoped, Effect.provide(layerOn(postgres))))

  it.live("a MariaDB session that is read-only is replaced, so that reports pass once the server takes writes (S2)", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const user = freshPrefix()
      yield* sql.unsafe(`CREATE USER ${user}@'127.0.0.1' IDENTIFIED BY 'secret'`)
      const database = new URL(serverUrl("mysql")).pathname.slice(1)
      yield* sql.unsafe(`GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON ${database}.* TO ${user}@'127.0.0.1'`)
      yield* Effect.acquireUseRelease(
        // It runs when a session begins.
        sql.unsafe(`SET GLOBAL init_connect = 'SET SESSION TRANSACTION READ ONLY'`),
        () =>
          Effect.gen(function*() {
            const url = urlFor("mysql", user)
            const client = Mysql.layer({ ...PATIENT_CLIENT, url, maxConnections: 2, connectionTimeToLive: "1 day" })
            const it = circuitOf(yield* build(client), freshPrefix())
            const error = yield* errorOf(it.report(failures(1)))
            assert.strictEqual(error.reason, "Unavailable")
            assert.match(String(error.cause), /the server takes no writes/)
            yield* sql.unsafe(`SET GLOBAL init_connect = ''`)
            // There may be a second session that began before.
            yield* Effect.retry(it.report(failures(1)), { times: 2 })
          }),
        () => Effect.orDie(sql.unsafe(`SET GLOBAL init_connect = ''`))
      )
    }).pipe(Effect.scoped, Effect.provide(layerOn(mariadb))))

  it.live("a connection is used no longer than its time to live (S2)", () =>
    Effect.gen(function*() {
      const connectionTimeToLive = "10 millis"
      const clients = [
        ["SELECT pg_backend_pid() AS id", Postgres.layer, "postgres"],
        ["SELECT CONNECTION_ID() AS id", Mysql.layer, "mysql"]
      ] as const
      for (const [statement, layer, name] of clients) {
        const url = Redacted.make(serverUrl(name))
        const used = (life: "10 millis" | "1 day") =>
          Effect.gen(function*() {
            const client = layer({ ...PATIENT_CLIENT, url, connectionTimeToLive: life })
            const sql = Context.get(yield* Layer.build(Layer.fresh(client)), SqlClient.SqlClient)
            const ids = new Set<unknown>()
            for (let i = 0; i < 4; i++) {
              const [row] = yield* sql.unsafe<{ readonly id: unknown }>(statement)
              ids.add(String(row!.id))
              yield* Effect.sleep("30 millis")
            }
            return ids.size
          })
        assert.deepStrictEqual([yield* used("1 day"), (yield* used(connectionTimeToLive)) > 1], [1, true], name)
      }
    }).pipe(Effect.scoped))
})
