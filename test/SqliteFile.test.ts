/** The file of SQLite when it is removed, replaced or cannot be written while processes use it. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { circuitOf, failures, HOUR } from "../src/conformance/Law.ts"
import { Breaker, Trip } from "../src/index.ts"
import * as Sqlite from "../src/layers/Sqlite.ts"
import * as SqlStorage from "../src/Storage/Sql.ts"
import { Storage } from "../src/Storage/Storage.ts"
import { eventually } from "./support/machine.ts"
import { run, temporaryDirectory } from "./support/servers/processes.ts"

const inDirectory = Effect.map(
  Effect.acquireRelease(
    Effect.promise(temporaryDirectory),
    (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
  ),
  (directory) => ({ directory, file: join(directory, "circuits.sqlite") })
)

/** A process on a file, with its storage and its client, until the scope closes. */
const processOn = (file: string) => {
  const client = Sqlite.layer({ file, busyTimeout: "10 minutes" })
  return Effect.map(
    Layer.build(Layer.fresh(Layer.provideMerge(SqlStorage.layer({ deadline: "10 minutes" }), client))),
    (context) => {
      const storage = Context.get(context, Storage)
      return { storage, sql: Context.get(context, SqlClient.SqlClient), circuit: circuitOf(storage, "payments") }
    }
  )
}

/** Ways in which a file goes away while it is in use. */
const removals: Readonly<Record<string, (place: { readonly directory: string; readonly file: string }) => void>> = {
  "the file and its companions are removed": ({ directory }) => {
    for (const name of readdirSync(directory)) rmSync(join(directory, name))
  },
  "the file alone is removed": ({ file }) => rmSync(file),
  "the directory is removed": ({ directory }) => rmSync(directory, { recursive: true }),
  "the file is renamed": ({ directory, file }) => {
    for (const name of readdirSync(directory)) renameSync(join(directory, name), join(directory, `old ${name}`))
    assert.isFalse(existsSync(file))
  }
}

describe("a SQLite file that goes away while it is in use", () => {
  for (const [what, remove] of Object.entries(removals)) {
    it.live(`the next report is in a file that a process which starts then shares: ${what} (S10)`, () =>
      Effect.gen(function*() {
        const place = yield* inDirectory
        const first = yield* processOn(place.file)
        yield* first.circuit.report(failures(1))
        remove(place)
        yield* first.circuit.report(failures(2))
        assert.isTrue(existsSync(place.file))
        const second = yield* processOn(place.file)
        assert.strictEqual((yield* second.circuit.read).lifetime.failure, 2)
        yield* second.circuit.open()
        assert.strictEqual((yield* first.circuit.read).state._tag, "Open")
        yield* second.circuit.report(failures(4), { instance: "second" })
        yield* first.circuit.report(failures(8), { instance: "first" })
        for (const { circuit } of [first, second]) {
          assert.strictEqual((yield* circuit.read).lifetime.failure, 2 + 4 + 8)
        }
      }).pipe(Effect.scoped))

    it.live(`the file of a process that was there first is used and stays whole: ${what} (S10)`, () =>
      Effect.gen(function*() {
        const place = yield* inDirectory
        const first = yield* processOn(place.file)
        yield* first.circuit.report(failures(1))
        remove(place)
        const second = yield* processOn(place.file)
        yield* second.circuit.report(failures(2), { instance: "second" })
        assert.strictEqual((yield* first.circuit.read).lifetime.failure, 2)
        yield* first.circuit.open()
        yield* second.circuit.report(failures(4), { instance: "second", sequence: 2 })
        const third = yield* processOn(place.file)
        for (const { circuit, sql } of [first, second, third]) {
          const { lifetime, state } = yield* circuit.read
          assert.deepStrictEqual([lifetime.failure, state._tag], [6, "Open"])
          assert.deepStrictEqual(yield* sql`PRAGMA integrity_check`, [{ integrity_check: "ok" }])
        }
      }).pipe(Effect.scoped))
  }

  it.live("a file that is replaced by a backup is opened (S10)", () =>
    Effect.gen(function*() {
      const { directory, file } = yield* inDirectory
      const backup = join(directory, "backup")
      yield* Effect.scoped(
        Effect.flatMap(processOn(file), ({ circuit }) => circuit.open({ openFor: HOUR, maxOpenFor: HOUR }))
      )
      copyFileSync(file, backup)
      const { circuit } = yield* processOn(file)
      yield* circuit.operate({ _tag: "Reset" })
      for (const end of ["-wal", "-shm"]) rmSync(`${file}${end}`)
      renameSync(backup, file)
      assert.strictEqual((yield* circuit.read).state._tag, "Open")
    }).pipe(Effect.scoped))

  it.live("a transaction ends on the file that it began on (S10)", () =>
    Effect.gen(function*() {
      const place = yield* inDirectory
      const { sql } = yield* processOn(place.file)
      yield* sql`CREATE TABLE notes (text TEXT)`
      const inside = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO notes VALUES ('a')`
        rmSync(place.file)
        yield* sql`INSERT INTO notes VALUES ('b')`
        return yield* sql`SELECT text FROM notes`
      }))
      assert.deepStrictEqual(inside, [{ text: "a" }, { text: "b" }])
      // The same tables, without their rows.
      assert.deepStrictEqual(yield* sql`SELECT text FROM notes`, [])
    }).pipe(Effect.scoped))

  it.live("a breaker puts its open circuit into the new file, for a process that starts then (S10)", () =>
    Effect.gen(function*() {
      const place = yield* inDirectory
      const { circuit, storage } = yield* processOn(place.file)
      const breaker = yield* Breaker.make("payments", {
        trip: Trip.consecutiveFailures(1),
        openFor: "1 hour",
        syncEvery: "100 millis"
      }).pipe(Effect.provideService(Storage, storage))
      yield* Effect.ignore(breaker.wrap(Effect.fail("down")))
      yield* eventually(
        "the circuit is open in the file",
        Effect.map(circuit.read, ({ state }) => state._tag === "Open")
      )
      for (const name of readdirSync(place.directory)) rmSync(join(place.directory, name))
      const started = yield* processOn(place.file)
      yield* eventually(
        "the new process knows of the open circuit",
        Effect.map(started.circuit.read, ({ state }) => state._tag === "Open")
      )
    }).pipe(Effect.scoped))

  it.live("a database in memory has no file that could go away (S10)", () =>
    Effect.gen(function*() {
      const { circuit } = yield* processOn(":memory:")
      yield* circuit.report(failures(1))
      yield* circuit.report(failures(1))
      assert.strictEqual((yield* circuit.read).lifetime.failure, 2)
    }).pipe(Effect.scoped))
})

describe("a SQLite client", () => {
  it.live("a client whose scope has closed is Unavailable, and opens no file again (S12)", () =>
    Effect.gen(function*() {
      const { directory, file } = yield* inDirectory
      const scope = yield* Scope.make()
      const { circuit, sql } = yield* Scope.provide(processOn(file), scope)
      yield* circuit.report(failures(1))
      yield* Scope.close(scope, Exit.void)
      for (const name of readdirSync(directory)) rmSync(join(directory, name))
      const { reason } = yield* Effect.flip(sql`SELECT 1 AS one`)
      assert.strictEqual(reason._tag, "ConnectionError")
      assert.deepStrictEqual(readdirSync(directory), [])
    }).pipe(Effect.scoped))

  it("keeps its process until it has closed, also where a statement is answered meanwhile", async () => {
    const { stdout } = await run(process.execPath, [join(import.meta.dirname, "support", "closing.ts")])
    assert.strictEqual(stdout, "closed\n")
  })
})
