/** Bounds on what one request does to a database, however the database behaves. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Result, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { statSync } from "node:fs"
import { join } from "node:path"
import { circuitOf, failures, reading, times } from "../../src/conformance/Law.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import * as SqlHistory from "../../src/Storage/SqlHistory.ts"
import * as SqlSchema from "../../src/Storage/SqlSchema.ts"
import type { StorageError } from "../../src/Storage/Storage.ts"
import { eventually } from "../support/machine.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { build, databases, errorOf, freshPrefix, layerOn, mariadb, postgres } from "./databases.ts"
import { statementsOf } from "./statements.ts"

const said = ({ cause }: StorageError) => String(cause)

describe("one deadline", () => {
  it.live("a sync of many reports has one deadline, and is not split up after it (S3)", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const names = times(250).map((index) => `circuit ${index}`)
      const reports = names.map((name) => ({ ...reading(name, "a"), delta: failures(1) }))
      yield* (yield* build(postgres.client(), { prefix })).sync(reports)
      const storage = yield* build(postgres.client(), { prefix, deadline: "300 millis" })
      // The first request looks whether the tables are there, which may take longer than the deadline.
      yield* Effect.retry(storage.sync(reports), { times: 100 })
      const sql = yield* SqlClient.SqlClient
      const [locked, unlock] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const holder = yield* Effect.forkScoped(sql.withTransaction(Effect.gen(function*() {
        yield* sql`SET LOCAL idle_in_transaction_session_timeout = 0`
        yield* sql`LOCK TABLE ${sql(`${prefix}counts`)} IN ACCESS EXCLUSIVE MODE`
        yield* Deferred.succeed(locked, undefined)
        yield* Deferred.await(unlock)
      })))
      yield* Deferred.await(locked)
      const { result: error, statements } = yield* statementsOf(
        errorOf(storage.sync(reports.map((report) => ({ ...report, sequence: 2 }))))
      )
      assert.strictEqual(error.reason, "Deadline")
      assert.match(said(error), /no answer within 300 ms/)
      assert.lengthOf(statements.filter((text) => text.includes("counts")), 1)
      yield* Deferred.succeed(unlock, undefined)
      yield* Fiber.join(holder)
    }).pipe(Effect.scoped, Effect.provide(layerOn(postgres))))

  it.live("a report that the database does not accept costs no other report of its batch (S3)", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storage = yield* build(postgres.client(), { prefix })
      yield* circuitOf(storage, "before").report(failures(1))
      const sql = yield* SqlClient.SqlClient
      yield* sql.unsafe(`CREATE FUNCTION ${prefix}fails() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF NEW.service_name = 'bad' THEN RAISE EXCEPTION 'no' USING ERRCODE = '22001'; END IF; RETURN NEW; END $$`)
      yield* sql.unsafe(`CREATE TRIGGER fails BEFORE UPDATE ON ${prefix}counts
FOR EACH ROW EXECUTE FUNCTION ${prefix}fails()`)
      const answers = yield* storage.sync(
        ["a", "bad", "z"].map((name) => ({ ...reading(name, "b"), delta: failures(1) }))
      )
      const reasons = answers.map(({ result }) => Result.isFailure(result) ? result.failure.reason : "counted")
      assert.deepStrictEqual(reasons, ["counted", "Invalid", "counted"])
    }).pipe(Effect.scoped, Effect.provide(layerOn(postgres))))
})

describe.each([postgres, mariadb])("$name", (database) => {
  /** Rows of this table vanish when they are inserted. */
  const vanishing = (prefix: string, table: "counts" | "states") =>
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.forEach(
        database.name === "Postgres"
          ? [
            `CREATE OR REPLACE FUNCTION ${prefix}none() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`,
            `CREATE TRIGGER vanish BEFORE INSERT ON ${prefix}${table}
FOR EACH ROW EXECUTE FUNCTION ${prefix}none()`
          ]
          : [
            `RENAME TABLE ${prefix}${table} TO ${prefix}real_${table}`,
            // A row that is written goes where nobody reads it.
            `CREATE VIEW ${prefix}${table} AS SELECT * FROM ${prefix}real_${table} WHERE service_name = 'none'`
          ],
        (statement) => sql.unsafe(statement),
        { discard: true }
      ))

  it.live(`a row that is inserted and not found is tried a few times, then an error that says so (S4): ${database.name}`, () =>
    Effect.gen(function*() {
      for (const table of ["counts", "states"] as const) {
        const prefix = freshPrefix()
        const storage = yield* build(database.client(), { prefix })
        yield* circuitOf(storage, "before").open()
        yield* vanishing(prefix, table)
        const it = circuitOf(storage, "circuit")
        const operation: Effect.Effect<unknown, unknown> = table === "counts"
          ? it.send({ delta: failures(1) })
          : it.operate({ _tag: "HalfOpen" })
        const { result: error, statements } = yield* statementsOf(errorOf(operation))
        assert.strictEqual(error.reason, "Unavailable")
        assert.match(
          said(error),
          /of circuit "circuit" were inserted into .* 5 times and are not found|4 times and are not/
        )
        assert.isBelow(statements.length, 100)
      }
    }).pipe(Effect.scoped, Effect.provide(layerOn(database))))
})

describe.each(databases)("$name", (database) => {
  it.live(`a list reads only circuits that may have expired, and has those that reports keep: ${database.name}`, () =>
    Effect.gen(function*() {
      const storage = yield* build(database.client(), { prefix: freshPrefix(), idleTimeToLive: "1 second" })
      const list = statementsOf(Stream.runCollect(storage.list))
      const kept = circuitOf(storage, "kept")
      yield* circuitOf(storage, "silent").report(failures(1))
      yield* kept.report(failures(1))
      const { result: both, statements } = yield* list
      assert.deepStrictEqual(both, ["kept", "silent"])
      assert.lengthOf(statements, 2)
      yield* Effect.sleep("700 millis")
      yield* kept.report(failures(1), { sequence: 2 })
      yield* Effect.sleep("700 millis")
      assert.deepStrictEqual((yield* list).result, ["kept"])
    }).pipe(Effect.scoped))

  it.live(`the clean-up deletes expired circuits and silent instances in batches (S15): ${database.name}`, () =>
    Effect.gen(function*() {
      const options = { prefix: freshPrefix(), idleTimeToLive: "1 second" } as const
      const storage = yield* build(database.client(), options)
      const history = Context.get(
        yield* Layer.build(Layer.provide(SqlHistory.layer(options), database.client())),
        SqlHistory.History
      )
      const names = times(300).map((index) => `circuit ${index}`)
      yield* storage.sync(names.map((name) => ({ ...reading(name, "a"), delta: failures(1) })))
      const kept = circuitOf(storage, "kept")
      yield* kept.operate({ _tag: "Override", kind: "Disabled", reason: "maintenance", actor: "ann" })
      yield* Effect.sleep("1100 millis")
      yield* kept.report(failures(1), { instance: "b" })
      const { result: cleaned, statements } = yield* statementsOf(history.cleanUp)
      assert.deepStrictEqual([cleaned.circuits, cleaned.instances], [300, 301])
      assert.isBelow(statements.length, 60)
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), ["kept"])
      const sql = yield* SqlClient.SqlClient
      const instances = yield* sql<{ readonly instance: string }>`SELECT instance FROM ${
        sql(`${options.prefix}instances`)
      }`
      assert.deepStrictEqual(instances.map(({ instance }) => instance), ["b"])
    }).pipe(Effect.scoped, Effect.provide(layerOn(database))))
})

describe.each([postgres, mariadb])("$name", (database) => {
  it.live(`a report whose row is locked is Deadline, and costs no other report of the sync (S3): ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const name = (index: number) => `circuit ${String(index).padStart(3, "0")}`
      const reports = times(150).map((index) => ({ ...reading(name(index), "a"), delta: failures(1) }))
      yield* (yield* build(database.client(), { prefix })).sync(reports)
      const storage = yield* build(database.client(), { prefix, deadline: "3 seconds" })
      yield* Effect.retry(storage.sync(reports), { times: 100 })
      // Two reports of a circuit make the storage expect others. Postgres then adds its next reports to their stripes.
      const contended = reports.slice(100, 140)
      const twoOfEach = ["b", "c"].flatMap((instance) => contended.map((report) => ({ ...report, instance })))
      yield* Effect.retry(storage.sync(twoOfEach), { times: 100 })
      const sql = yield* SqlClient.SqlClient
      const [locked, unlock] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const holder = yield* Effect.forkScoped(sql.withTransaction(Effect.gen(function*() {
        yield* database.name === "Postgres"
          ? sql`SET LOCAL idle_in_transaction_session_timeout = 0`
          : sql`SET SESSION idle_transaction_timeout = 0`
        yield* sql`SELECT 1 AS one FROM ${sql(`${prefix}counts`)} WHERE service_name = ${name(149)} FOR UPDATE`
        yield* Deferred.succeed(locked, undefined)
        yield* Deferred.await(unlock)
      })))
      yield* Deferred.await(locked)
      const answers = yield* storage.sync(reports.map((report) => ({ ...report, sequence: 2 })))
      const failed = answers.filter(({ result }) => Result.isFailure(result))
      assert.deepStrictEqual(
        failed.map(({ circuit, result }) => [circuit, Result.isFailure(result) && result.failure.reason]),
        [[name(149), "Deadline"]]
      )
      yield* Deferred.succeed(unlock, undefined)
      yield* Fiber.join(holder)
      // Counted once, however often it is repeated.
      const [again] = yield* storage.sync([{ ...reports[149]!, sequence: 2 }])
      const [other] = yield* storage.sync([{ ...reports[0]!, sequence: 2 }])
      const failuresOf = (synced: typeof again) => Result.getOrThrow(synced!.result).snapshot.lifetime.failure
      assert.deepStrictEqual([failuresOf(again), failuresOf(other)], [2, 2])
    }).pipe(Effect.scoped, Effect.provide(layerOn(database))))
})

describe("a database that keeps its rows", () => {
  it.live("the clean-up ends although a trigger keeps what it deletes (S4)", () =>
    Effect.gen(function*() {
      const options = { prefix: freshPrefix(), retention: "1 second", idleTimeToLive: "1 second" } as const
      const storage = yield* build(postgres.client(), options)
      const history = Context.get(
        yield* Layer.build(Layer.provide(SqlHistory.layer(options), postgres.client())),
        SqlHistory.History
      )
      yield* circuitOf(storage, "circuit").open()
      const sql = yield* SqlClient.SqlClient
      yield* sql.unsafe(`CREATE FUNCTION ${options.prefix}keeps() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RETURN NULL; END $$`)
      for (const table of ["history", "states", "counts", "instances"]) {
        yield* sql.unsafe(`CREATE TRIGGER keeps BEFORE DELETE ON ${options.prefix}${table}
FOR EACH ROW EXECUTE FUNCTION ${options.prefix}keeps()`)
      }
      yield* Effect.sleep("1100 millis")
      const { statements } = yield* statementsOf(history.cleanUp)
      assert.isBelow(statements.length, 30)
    }).pipe(Effect.scoped, Effect.provide(layerOn(postgres))))
})

describe("what a report writes", () => {
  it("no index has a column that reports change (S15)", () => {
    for (const flavour of SqlSchema.flavours) {
      const indexes = SqlSchema.print(flavour).match(/(CREATE INDEX [^;]*|KEY [^,)]*\))/g)!.join("\n")
      assert.match(indexes, /expires_at/)
      assert.notMatch(indexes, /heard_at|delta|bucket|_count/)
    }
  })

  it.live("Postgres writes no index for the reports of an instance (S15)", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      // A session publishes its statistics when it ends.
      yield* Effect.scoped(Effect.gen(function*() {
        const it = circuitOf(yield* build(postgres.client(), { prefix }), "circuit")
        for (const sequence of times(50)) yield* it.send({ sequence: sequence + 1, delta: failures(1) })
      }))
      const sql = yield* SqlClient.SqlClient
      const updates = Effect.map(
        sql<{ readonly all: unknown; readonly hot: unknown }>`
SELECT n_tup_upd AS all, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = ${`${prefix}instances`}`,
        ([row]) => [Number(row!.all), Number(row!.hot)] as const
      )
      yield* eventually("the updates are counted", Effect.map(updates, ([all]) => all >= 49))
      const [all, hot] = yield* updates
      assert.isAtLeast(hot, all - 5)
    }).pipe(Effect.scoped, Effect.provide(layerOn(postgres))))

  it.live("the WAL file of SQLite is cut after a big fill (S15)", () =>
    Effect.gen(function*() {
      const file = join(yield* Effect.promise(temporaryDirectory), "circuits.sqlite")
      const sql = Context.get(yield* Layer.build(Sqlite.layer({ file })), SqlClient.SqlClient)
      yield* sql`CREATE TABLE filled (data text)`
      const bytes = () => statSync(`${file}-wal`).size
      yield* sql.withTransaction(sql`
INSERT INTO filled WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 8000)
SELECT hex(randomblob(2000)) FROM g`)
      assert.isAbove(bytes(), 20_000_000)
      yield* sql`PRAGMA wal_checkpoint(RESTART)`
      yield* sql`INSERT INTO filled VALUES ('x')`
      assert.isAtMost(bytes(), 16 * 1024 * 1024)
    }).pipe(Effect.scoped))
})
