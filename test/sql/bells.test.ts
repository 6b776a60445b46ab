/** Bells of databases: what a poll tells, whose alert is whose, and the epoch of the data. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { circuitOf, failures, MINUTE, reading, times } from "../../src/conformance/Law.ts"
import { migrations, noted, tablesOf } from "../../src/sql/Schema.ts"
import type * as SqlSchema from "../../src/Storage/SqlSchema.ts"
import type { Announcement, Bells, Storage } from "../../src/Storage/Storage.ts"
import { eventually } from "../support/machine.ts"
import { build, type Database, databases, freshPrefix, postgres } from "./databases.ts"
import { statementsOf } from "./statements.ts"

const flavours: Readonly<Record<string, SqlSchema.Flavour>> = {
  SQLite: "sqlite",
  Postgres: "postgres",
  MariaDB: "mariadb"
}

const sqlOn = (database: Database) =>
  Effect.map(Layer.build(Layer.fresh(database.client())), Context.get(SqlClient.SqlClient))

const poll = (storage: Storage, since?: number) => storage.bells!(since)

const namesIn = ({ rung }: Bells) => rung === "all" ? rung : rung.map(({ circuit }) => circuit)

const suspecting = (circuit: string, instance: string, suspect = MINUTE) => ({
  ...reading(circuit, instance),
  sequence: 1,
  delta: failures(1),
  suspect
})

describe.each(databases)("$name", (database) => {
  it.live(`a poll is one statement, which reads nothing but the bells: ${database.name}`, () =>
    Effect.gen(function*() {
      const storage = yield* build(database.client(), { prefix: freshPrefix() })
      const { now } = yield* poll(storage)
      const { result, statements } = yield* statementsOf(poll(storage, now))
      assert.deepEqual([result.rung, result.lastRungAt, statements.length], [[], 0, 1])
    }).pipe(Effect.scoped))

  it.live(`tables of the version before get the bells, and keep their circuits: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const tables = tablesOf(prefix, undefined)
      const sql = yield* sqlOn(database)
      const flavour = flavours[database.name]!
      const former = migrations[0]!.statements(flavour, tables)
      for (const statement of [...former, ...noted(flavour, tables)]) yield* sql.unsafe(statement)
      yield* sql`DELETE FROM ${sql(tables.migrations)} WHERE migration_id > 1`
      const row = { service_name: "reported", stripe: 0 }
      yield* sql`INSERT INTO ${sql(tables.states)} ${sql.insert({ service_name: "reported" })}`
      yield* sql`INSERT INTO ${sql(tables.counts)} ${sql.insert(row)}`
      const storage = yield* build(database.client(), { prefix })
      const { now } = yield* poll(storage)
      yield* storage.sync([suspecting("reported", "a")])
      assert.deepEqual(namesIn(yield* poll(storage, now)), ["reported"])
    }).pipe(Effect.scoped))

  it.live(`a change by a version without bells ends the alert of the generation before: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storage = yield* build(database.client(), { prefix })
      const it = circuitOf(storage, "circuit")
      yield* it.open()
      yield* it.operate({ _tag: "Reset" })
      const { snapshot: { generation } } = yield* it.report(failures(1))
      const called = yield* it.send({ generation, suspect: MINUTE })
      assert.isDefined(called.snapshot.alert)
      const sql = yield* sqlOn(database)
      const states = sql(`${prefix}states`)
      const [row] = yield* sql<{ readonly document: string }>`SELECT document FROM ${states}`
      const { record, ...others } = JSON.parse(row!.document)
      const document = JSON.stringify({ ...others, record: { ...record, generation: generation + 5 } })
      yield* sql`UPDATE ${states} SET document = ${document}`
      assert.isUndefined((yield* it.read).alert)
      const late = yield* it.send({ generation, suspect: MINUTE })
      assert.deepEqual([late.snapshot.generation, late.snapshot.alert], [generation + 5, undefined])
      const again = yield* it.send({ generation: generation + 5, suspect: MINUTE })
      assert.isBelow(again.snapshot.alert!.since, MINUTE)
      assert.isDefined((yield* it.read).alert)
    }).pipe(Effect.scoped))

  it.live(`a circuit whose rows were deleted by hand can be alerted again: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storage = yield* build(database.client(), { prefix })
      const it = circuitOf(storage, "circuit")
      yield* it.open()
      const sql = yield* sqlOn(database)
      for (const table of ["states", "counts", "instances"]) yield* sql`DELETE FROM ${sql(prefix + table)}`
      const { now } = yield* poll(storage)
      yield* storage.sync([suspecting("circuit", "a")])
      assert.isDefined((yield* it.read).alert)
      assert.deepEqual(namesIn(yield* poll(storage, now)), ["circuit"])
    }).pipe(Effect.scoped))

  it.live(`an alert of a clock that was set back since does not last until then: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storage = yield* build(database.client(), { prefix })
      const it = circuitOf(storage, "circuit")
      yield* storage.sync([suspecting("circuit", "a")])
      const sql = yield* sqlOn(database)
      const later = ["rung_at", "called_at", "alert_until", "updated_at"].map((column) =>
        `${column} = ${column} + 3600000`
      )
      yield* sql.unsafe(`UPDATE ${prefix}bells SET ${later.join(", ")}`)
      assert.isUndefined((yield* it.read).alert)
      const { now } = yield* poll(storage)
      yield* it.send({ generation: 0, suspect: MINUTE })
      const { alert } = yield* it.read
      assert.isAtMost(alert!.remaining, MINUTE)
      assert.deepEqual(namesIn(yield* poll(storage, now)), ["circuit"])
    }).pipe(Effect.scoped))

  it.live(`the epoch names the data: it is one for all who poll at once, and another after a loss: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const storages = yield* Effect.forEach(times(5), () => build(database.client(), { prefix }))
      const first = yield* Effect.forEach(storages, (storage) => poll(storage), { concurrency: "unbounded" })
      assert.strictEqual(new Set(first.map(({ epoch }) => epoch)).size, 1)
      const sql = yield* sqlOn(database)
      for (const table of Object.values(tablesOf(prefix, undefined))) yield* sql`DELETE FROM ${sql(table)}`
      const { epoch } = yield* poll(storages[0]!)
      assert.notStrictEqual(epoch, first[0]!.epoch)
      assert.strictEqual((yield* poll(storages[1]!)).epoch, epoch)
    }).pipe(Effect.scoped))

  it.live(`a poll tells whole names, and of more than a thousand circuits that all may have changed: ${database.name}`, () =>
    Effect.gen(function*() {
      const storage = yield* build(database.client(), { prefix: freshPrefix() })
      const { now } = yield* poll(storage)
      const name = `${"long ".repeat(100)}\0`
      yield* circuitOf(storage, name).open()
      assert.deepEqual(namesIn(yield* poll(storage, now)), [name])
      const reports = times(1000).map((index) => suspecting(`circuit ${index}`, "a"))
      yield* storage.sync(reports)
      assert.strictEqual((yield* poll(storage, now)).rung, "all")
    }).pipe(Effect.scoped))

  it.live(`the instances of a circuit are counted, whichever storage they report to: ${database.name}`, () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const [first, second] = [yield* build(database.client(), { prefix }), yield* build(database.client(), { prefix })]
      for (const instance of ["a", "b", "c"]) yield* first.sync([suspecting("circuit", instance)])
      assert.strictEqual((yield* circuitOf(second, "circuit").read).members, 3)
    }).pipe(Effect.scoped))
})

it.live("instances that call at once in Postgres begin one alert, which is announced once", () =>
  Effect.gen(function*() {
    const prefix = freshPrefix()
    const storages = yield* Effect.forEach(times(5), () => build(postgres.client(), { prefix }))
    const it = circuitOf(storages[0]!, "circuit")
    yield* it.report(failures(1))
    const heard: Array<Announcement> = []
    const listening = yield* storages[0]!.changes.pipe(
      Stream.runForEach((announcement) => Effect.sync(() => heard.push(announcement))),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* eventually("the listener is subscribed", Effect.sync(() => heard.length > 0))
    yield* Effect.forEach(times(20), (index) => storages[index % 5]!.sync([suspecting("circuit", `${index}`)]), {
      concurrency: "unbounded"
    })
    yield* it.open()
    yield* eventually("the opening is announced", Effect.sync(() => heard.length >= 3))
    assert.deepEqual(heard.slice(1).map((one) => one._tag === "Changed" && one.alert !== undefined), [true, false])
    yield* Fiber.interrupt(listening)
  }).pipe(Effect.scoped))
