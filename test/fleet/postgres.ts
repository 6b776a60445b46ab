import { Context, Effect, Exit, Layer, Redacted, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { reading } from "../../src/conformance/Law.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { PostgresServer } from "../support/servers/postgres.ts"
import type { Server, Trouble } from "./server.ts"

/** Enough to take every connection of the server. */
const CONNECTIONS = 200

/** A Postgres server. It loses no committed data. */
export const startPostgres = async (): Promise<Server> => {
  const postgres = await PostgresServer.start()
  const scope = Scope.makeUnsafe()
  const client = await Effect.runPromise(
    Layer.buildWithScope(Postgres.layer({ url: Redacted.make(postgres.url), statementTimeout: "1 minute" }), scope)
  )
  const sql = Context.get(client, SqlClient.SqlClient)
  // Made when it is first read, because making it creates the tables, which an upgrade finds as the former version made them.
  let storage: Storage | undefined
  const made = Effect.gen(function*() {
    const layer = Layer.provide(SqlStorage.layer({ cleanUp: false }), Layer.succeedContext(client))
    return storage ??= Context.get(yield* Layer.buildWithScope(layer, scope), Storage)
  })
  const again = <A, E>(effect: Effect.Effect<A, E>): Promise<A> =>
    Effect.runPromise(Effect.retry(effect, { times: 100, schedule: Schedule.spaced("50 millis") }))

  /** Another transaction locks the rows of all circuits. */
  const locked = (millis: number): Trouble => ({
    what: `the rows of all circuits are locked for ${millis} ms`,
    inflict: () => {
      const lock = sql`SELECT service_name FROM circuit_breaker_states ORDER BY service_name FOR UPDATE`
      // Sleeps on the server, because the server ends an idle transaction.
      return again(
        sql.withTransaction(Effect.andThen(lock, sql`SELECT pg_sleep(${millis / 1000})`)).pipe(Effect.asVoid)
      )
    }
  })

  const cut = (what: string, which: string): Trouble => ({
    what: `${what} are cut`,
    inflict: () =>
      again(Effect.asVoid(
        sql.unsafe(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND ${which}`)
      ))
  })

  /** Cuts all other connections, and takes them so that the fleet gets none. */
  const occupied = (millis: number): Trouble => ({
    what: `all connections are cut, and taken by others for ${millis} ms`,
    inflict: async () => {
      const others = Postgres.layer({ url: Redacted.make(postgres.url), maxConnections: CONNECTIONS })
      const sleeping = Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const sleep = Effect.ignore(sql`SELECT pg_sleep(${millis / 1000})`)
        yield* Effect.all(Array.from({ length: CONNECTIONS }, () => sleep), { concurrency: "unbounded" })
      })
      const over = Effect.runPromise(Effect.provide(sleeping, others))
      await cut("all others", "query NOT LIKE '%pg_sleep%' AND backend_type = 'client backend'").inflict()
      await over
      await back()
    }
  })

  const back = () => again(Effect.asVoid(sql`SELECT 1 AS one`))

  return {
    storage: { kind: "postgres", url: postgres.url },
    stored: (circuit) =>
      again(Effect.gen(function*() {
        const [answer] = yield* (yield* made).sync([{ ...reading(circuit, "drill"), withins: [] }])
        const { snapshot: { generation, lifetime } } = yield* Effect.fromResult(answer!.result)
        return { generation, success: lifetime.success, failure: lifetime.failure, rejected: lifetime.rejected }
      })),
    hiccup: (rng) => locked(rng.int(50, 600)),
    troubles: [
      () => ({ what: "Postgres is killed, and starts again", inflict: () => postgres.crash().then(back) }),
      () => ({ what: "Postgres starts again", inflict: () => postgres.restart().then(back) }),
      (rng) => locked(rng.int(3500, 5000)),
      () => cut("those who listen", "query LIKE 'LISTEN%'"),
      (rng) => occupied(rng.int(1000, 4000))
    ],
    stop: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      await postgres.stop()
    }
  }
}
