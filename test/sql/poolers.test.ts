/** Postgres behind PgBouncer, in each mode. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Redacted, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { setTimeout as sleep } from "node:timers/promises"
import { circuitOf, failures, times } from "../../src/conformance/Law.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import type { StorageError } from "../../src/Storage/Storage.ts"
import { eventually } from "../support/machine.ts"
import { PgBouncer } from "../support/servers/pgbouncer.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { build, errorOf, freshPrefix, PATIENT_CLIENT } from "./databases.ts"

const said = ({ cause }: StorageError) => String(cause)

const database = () => serverUrl("postgres")

const IGNORES = "ignore_startup_parameters = statement_timeout,idle_in_transaction_session_timeout"

describe("Postgres behind PgBouncer", () => {
  const bouncers: Array<PgBouncer> = []
  let [transactions, sessions, lenient] = ["", "", ""]

  beforeAll(async () => {
    const start = async (mode: "session" | "transaction", settings?: ReadonlyArray<string>) => {
      const bouncer = await PgBouncer.start(database(), mode, settings)
      bouncers.push(bouncer)
      return bouncer.urlOf(database())
    }
    transactions = await start("transaction")
    sessions = await start("session")
    lenient = await start("transaction", [IGNORES, "query_wait_timeout = 5"])
  })
  afterAll(() => Promise.all(bouncers.map((bouncer) => bouncer.stop())))

  const client = (url: string, options: Postgres.Options = {}) =>
    Postgres.layer({ ...PATIENT_CLIENT, url: Redacted.make(url), ...options })

  it.live("without `pooler` a pooler in transaction mode refuses, and the error names the setting (S6)", () =>
    Effect.gen(function*() {
      const error = yield* errorOf(circuitOf(yield* build(client(transactions)), "circuit").read)
      assert.strictEqual(error.reason, "Unavailable")
      assert.match(said(error), /set the option "pooler" \(DATABASE_POOLER=true\)/)
    }).pipe(Effect.scoped))

  it.live("without `pooler`, where a pooler ignores start-up parameters, no error is Invalid, and the setting is named (S6)", () =>
    Effect.gen(function*() {
      const storage = yield* build(client(lenient))
      const prefix = freshPrefix()
      const exits = yield* Effect.forEach(
        times(60),
        (index) => Effect.exit(circuitOf(storage, `${prefix}${index}`).report(failures(1))),
        { concurrency: "unbounded" }
      )
      const failed = exits.filter(Exit.isFailure)
      assert.isNotEmpty(failed)
      for (const exit of failed) {
        // While 60 requests fight for its few connections, the pooler itself refuses some of them, in words of its own.
        assert.include(["Unavailable", "Deadline"], (Cause.squash(exit.cause) as StorageError).reason)
      }
      assert.isTrue(
        failed.some((exit) => /set the option "pooler"/.test(said(Cause.squash(exit.cause) as StorageError)))
      )
    }).pipe(Effect.scoped))

  it.live("with `pooler`, or pgbouncer=true in the URL, 60 requests at once succeed (S6)", () =>
    Effect.gen(function*() {
      for (const layer of [client(transactions, { pooler: true }), client(`${lenient}?pgbouncer=true`)]) {
        const storage = yield* build(layer)
        const prefix = freshPrefix()
        yield* Effect.forEach(times(60), (index) =>
          Effect.gen(function*() {
            const it = circuitOf(storage, `${prefix}${index}`)
            yield* it.report(failures(1))
            yield* it.open()
            assert.strictEqual((yield* it.read).state._tag, "Open")
          }), { concurrency: "unbounded", discard: true })
      }
    }).pipe(Effect.scoped))

  it.live("with `pooler` a transaction has both time limits, and nothing else has (S5)", () =>
    Effect.gen(function*() {
      const sql = Context.get(
        yield* Layer.build(client(database(), { pooler: true, statementTimeout: "3 seconds", maxConnections: 1 })),
        SqlClient.SqlClient
      )
      const limits = Effect.map(
        sql<{ readonly statement: string; readonly idle: string }>`
SELECT current_setting('statement_timeout') AS statement, current_setting('idle_in_transaction_session_timeout') AS idle`,
        ([row]) => [row!.statement, row!.idle]
      )
      assert.deepStrictEqual(yield* sql.withTransaction(limits), ["3s", "1s"])
      assert.deepStrictEqual(yield* sql.withTransaction(sql.withTransaction(limits)), ["3s", "1s"])
      assert.deepStrictEqual(yield* limits, ["0", "0"])
    }).pipe(Effect.scoped))

  it.live("a client that goes silent in a transaction behind a pooler costs others no change (S5)", () =>
    Effect.gen(function*() {
      const layer = client(transactions, { pooler: true })
      const [storage, silent] = [yield* build(layer), yield* Layer.build(Layer.fresh(layer))]
      const it = circuitOf(storage, freshPrefix())
      yield* it.report(failures(1))
      const sql = Context.get(silent, SqlClient.SqlClient)
      let isLocked = false
      const holder = yield* Effect.forkScoped(Effect.exit(sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT 1 AS one FROM circuit_breaker_states WHERE service_name = ${it.name} FOR UPDATE`
        isLocked = true
        return yield* Effect.never
      }))))
      yield* eventually("the silent client holds the circuit", Effect.sync(() => isLocked))
      // The server ends the silent transaction, so that this does not wait for ever.
      yield* it.open()
      yield* Fiber.interrupt(holder)
    }).pipe(Effect.scoped))

  it.live("changes arrive over a pooler in session mode (S6)", () =>
    Effect.gen(function*() {
      const storage = yield* build(
        client(transactions, { pooler: true, listenUrl: Redacted.make(sessions) }),
        { prefix: freshPrefix() }
      )
      const heard: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(storage.changes, ({ _tag }) => Effect.sync(() => heard.push(_tag)))
      )
      yield* eventually("the subscription is active", Effect.sync(() => heard.includes("Subscribed")))
      yield* circuitOf(storage, "circuit").open()
      yield* eventually("the change arrives", Effect.sync(() => heard.includes("Changed")))
    }).pipe(Effect.scoped))

  it.effect("a pooler that accepts LISTEN and forgets it is no subscription, and the error says so (S6, S16)", () =>
    Effect.gen(function*() {
      const layer = client(transactions, { pooler: true, listenUrl: Redacted.make(transactions) })
      const listen = yield* Layer.build(layer).pipe(
        Effect.flatMap((context) => Effect.provideContext(SqlStorage.Listen, context))
      )
      const heard: Array<string> = []
      const listening = yield* Effect.forkScoped(
        Effect.flip(Stream.runForEach(listen!("channel"), (payload) => Effect.sync(() => heard.push(payload))))
      )
      // The connections are real and the clock is not.
      for (let looks = 0; looks < 3000 && listening.pollUnsafe() === undefined; looks++) {
        yield* TestClock.adjust("1 second")
        yield* Effect.promise(() => sleep(10))
      }
      assert.match(String(yield* Fiber.join(listening)), /does not receive them/)
      assert.deepStrictEqual(heard, [])
    }).pipe(Effect.scoped))
})
