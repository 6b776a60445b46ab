/** Announcements of Postgres that cannot be made, and listeners that do not hear them. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Redacted, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { createConnection, createServer, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { circuitOf, failures, MINUTE } from "../../src/conformance/Law.ts"
import { messages } from "../../src/internal/Messages.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { PostgresServer } from "../support/servers/postgres.ts"
import { freePort } from "../support/servers/processes.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { build, freshPrefix, layerOn, PATIENT_CLIENT, postgres } from "./databases.ts"

/** Runs an effect, and collects the texts of the lines that it logs. */
const withLines = <A, E, R>(body: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ message }) => {
    lines.push(String(message))
  })
  return Effect.provide(body(lines), Logger.layer([logger]))
}

describe("a notification queue that is full", () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await PostgresServer.start({ max_notify_queue_pages: "64" })
  })
  afterAll(() => server.stop())

  it.live("changes are made without their announcement while the queue is full, with one line (S11)", () =>
    withLines((lines) =>
      Effect.gen(function*() {
        const client = Postgres.layer({ ...PATIENT_CLIENT, url: Redacted.make(server.url) })
        const storage = yield* build(client)
        const it = circuitOf(storage, "circuit")
        yield* it.report(failures(1))
        const sql = Context.get(yield* Layer.build(Layer.fresh(client)), SqlClient.SqlClient)
        // A listener that sits in a transaction keeps the queue from being emptied.
        const sitting = yield* sql.reserve
        for (
          const statement of [
            "LISTEN queue",
            "BEGIN",
            "SET LOCAL idle_in_transaction_session_timeout = 0",
            "SELECT 1 AS one"
          ]
        ) yield* sitting.execute(statement, [], undefined)
        const fill = sql`SELECT pg_notify('queue', ${"x".repeat(7000)} || n) FROM generate_series(1, 10) AS g(n)`
        let isFull = false
        for (let i = 0; i < 100 && !isFull; i++) isFull = Exit.isFailure(yield* Effect.exit(fill))
        assert.isTrue(isFull)
        const { snapshot } = yield* it.report(failures(1), { suspect: MINUTE })
        assert.isDefined(snapshot.alert)
        yield* it.open()
        yield* it.operate({ _tag: "Reset" })
        yield* it.operate({ _tag: "HalfOpen" })
        const changes = yield* storage.history(it.name)
        assert.deepStrictEqual(changes.map(({ to }) => to), ["HalfOpen", "Closed", "Open"])
        assert.deepStrictEqual(lines, [messages.announceFailed.text])
        yield* sitting.execute("ROLLBACK", [], undefined)
      }).pipe(Effect.scoped)
    ))

  it.live("changes are made without their announcement by a user who may not notify (S11)", () =>
    withLines((lines) =>
      Effect.gen(function*() {
        const admin = Postgres.layer({ ...PATIENT_CLIENT, url: Redacted.make(server.url) })
        const prefix = freshPrefix()
        yield* circuitOf(yield* build(admin, { prefix }), "circuit").report(failures(1))
        const sql = Context.get(yield* Layer.build(Layer.fresh(admin)), SqlClient.SqlClient)
        const url = new URL(server.url)
        url.username = prefix
        yield* sql.unsafe(`CREATE ROLE ${prefix} LOGIN PASSWORD 'secret'`)
        yield* sql.unsafe(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${prefix}`)
        yield* sql.unsafe("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC")
        const client = Postgres.layer({ ...PATIENT_CLIENT, url: Redacted.make(url.href) })
        const it = circuitOf(yield* build(client, { prefix }), "circuit")
        yield* it.open()
        assert.strictEqual((yield* it.read).state._tag, "Open")
        assert.deepStrictEqual(lines, [messages.announceFailed.text])
      }).pipe(Effect.scoped)
    ))
})

/** A proxy to a server, which can stop to forward anything without closing a connection. */
const makeProxy = Effect.fnUntraced(function*(target: string) {
  const { hostname, port: targetPort } = new URL(target)
  const sockets = new Set<Socket>()
  let isDropping = false
  const server = createServer((near) => {
    const far = createConnection({ host: hostname, port: Number(targetPort) })
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from)
      from.on("data", (chunk) => {
        if (!isDropping) to.write(chunk)
      })
      from.on("error", () => {})
      from.on("close", () => to.destroy())
    }
  })
  const port = yield* Effect.promise(freePort)
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(port, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )
  const url = new URL(target)
  url.port = String(port)
  return { url: url.href, drop: () => isDropping = true }
})

describe("a listener", () => {
  it.effect("a listener whose packets are dropped fails, so that a breaker subscribes again (S16)", () =>
    Effect.gen(function*() {
      const proxy = yield* makeProxy(serverUrl("postgres"))
      const client = Postgres.layer({
        ...PATIENT_CLIENT,
        url: Redacted.make(serverUrl("postgres")),
        listenUrl: Redacted.make(proxy.url)
      })
      const context = yield* Layer.build(client)
      const listen = yield* Effect.provideContext(SqlStorage.Listen, context)
      const heard: Array<string> = []
      const listening = yield* Effect.forkScoped(
        Effect.flip(Stream.runForEach(listen!("channel"), (payload) => Effect.sync(() => heard.push(payload))))
      )
      const passing = (isSo: () => boolean, step: "0 seconds" | "1 second") =>
        Effect.gen(function*() {
          for (let looks = 0; looks < 3000 && !isSo(); looks++) {
            yield* TestClock.adjust(step)
            yield* Effect.promise(() => sleep(10))
          }
        })
      yield* passing(() => heard.length > 0, "0 seconds")
      assert.isUndefined(listening.pollUnsafe())
      proxy.drop()
      yield* passing(() => listening.pollUnsafe() !== undefined, "1 second")
      assert.match(String(yield* Fiber.join(listening)), /does not receive them/)
      assert.deepStrictEqual(heard, [""])
    }).pipe(Effect.scoped))

  it.live("a listener that hears stays subscribed, and its own notifications are nobody's changes (S16)", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const listen = yield* SqlStorage.Listen
      const channel = freshPrefix()
      const heard = yield* Stream.runCollect(
        Stream.take(
          Stream.tap(
            listen!(channel),
            (payload) => payload === "" ? Effect.orDie(sql`SELECT pg_notify(${channel}, 'change')`) : Effect.void
          ),
          2
        )
      )
      assert.deepStrictEqual(heard, ["", "change"])
    }).pipe(Effect.provide(layerOn(postgres))))
})
