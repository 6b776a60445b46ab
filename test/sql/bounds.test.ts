/** Bounds on what one request does to a database, however the database behaves. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Result } from "effect"
import { SqlClient } from "effect/sql"
import { circuitOf, failures, reading, times } from "../../src/conformance/Law.ts"
import type { StorageError } from "../../src/Storage/Storage.ts"
import { build, errorOf, freshPrefix, layerOn, mariadb, postgres } from "./databases.ts"
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
      assert.lengthOf(statements.filter((text) => text.includes("FOR UPDATE")), 1)
      yield* Deferred.succeed(unlock, undefined)
      yield* Fiber.join(holder)
    }).pipe(Effect.scoped, Effect.provide(layerOn(postgres))))

  it.live("what was counted before the deadline is answered, and the rest is Deadline (S3)", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const name = (index: number) => `circuit ${String(index).padStart(3, "0")}`
      const reports = times(150).map((index) => ({ ...reading(name(index), "a"), delta: failures(1) }))
      yield* (yield* build(postgres.client(), { prefix })).sync(reports)
      const storage = yield* build(postgres.client(), { prefix, deadline: "2 seconds" })
      yield* Effect.retry(storage.sync(reports), { times: 100 })
      const sql = yield* SqlClient.SqlClient
      const [locked, unlock] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const holder = yield* Effect.forkScoped(sql.withTransaction(Effect.gen(function*() {
        yield* sql`SET LOCAL idle_in_transaction_session_timeout = 0`
        yield* sql`SELECT 1 AS one FROM ${sql(`${prefix}counts`)} WHERE service_name = ${name(149)} FOR UPDATE`
        yield* Deferred.succeed(locked, undefined)
        yield* Deferred.await(unlock)
      })))
      yield* Deferred.await(locked)
      const answers = yield* storage.sync(reports.map((report) => ({ ...report, sequence: 2 })))
      const reasons = answers.map(({ result }) => Result.isFailure(result) ? result.failure.reason : "counted")
      assert.deepStrictEqual(new Set(reasons.slice(0, 100)), new Set(["counted"]))
      assert.deepStrictEqual(new Set(reasons.slice(100)), new Set(["Deadline"]))
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
