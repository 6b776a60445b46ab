/** The SQL storage on a SQLite in memory: rows that cannot be decoded, and the parts that need no database. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { circuitOf, failures } from "../../src/conformance/Law.ts"
import { readerOf } from "../../src/internal/StoredJson.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import { announcementOf } from "../../src/sql/Announcements.ts"
import { meanMillisToRecover, millisInStates } from "../../src/sql/History.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import * as SqlHistory from "../../src/Storage/SqlHistory.ts"
import { type HistoryEntry, isStorageError, Storage } from "../../src/Storage/Storage.ts"

const layer = Layer.mergeAll(SqlStorage.layer(), SqlHistory.layer({ retention: "1 second" })).pipe(
  Layer.provideMerge(Sqlite.layer({ file: ":memory:" }))
)

/** The cause of an error, which must be `Invalid`, as text. */
const causeOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.flip(effect), (error) => {
    if (!isStorageError(error)) return assert.fail(String(error))
    assert.strictEqual(error.reason, "Invalid")
    return error.cause instanceof Error ? error.cause.message : String(error.cause)
  })

/** Two circuits, of which `bad` has been reported on and opened. */
const circuits = Effect.gen(function*() {
  const storage = yield* Storage
  const [bad, good] = [circuitOf(storage, "bad"), circuitOf(storage, "good")]
  yield* bad.report(failures(1))
  const { snapshot: { generation } } = yield* bad.open()
  yield* bad.report(failures(1), { generation, sequence: 2 })
  yield* good.report(failures(1))
  return { storage, bad, good }
})

describe("a row that cannot be decoded", () => {
  it.live("is named with its circuit, its field and the value, and fails only its own circuit", () =>
    Effect.gen(function*() {
      const { bad, storage } = yield* circuits
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql<{ readonly delta: string }>`
SELECT delta FROM circuit_breaker_counts WHERE service_name = 'bad'`
      const stripe = JSON.parse(row!.delta)
      const broken: ReadonlyArray<readonly [unknown, string]> = [
        [{ ...stripe, asOf: "abc" }, `field asOf holds "abc", expected a number`],
        [{ ...stripe, delta: { ...stripe.delta, streak: { ...stripe.delta.streak, trailing: -1 } } }, "-1, expected"],
        [{ ...stripe, delta: undefined }, "field delta is missing"],
        ["x".repeat(500), `it holds "${"x".repeat(99)}…, expected an object`]
      ]
      for (const [value, problem] of broken) {
        yield* sql`UPDATE circuit_breaker_counts SET delta = ${JSON.stringify(value)} WHERE service_name = 'bad'`
        const cause = yield* causeOf(bad.read)
        assert.include(cause, `circuit_breaker_counts.delta of stripe 0 of circuit "bad" cannot be read`)
        assert.include(cause, problem)
        assert.isBelow(cause.length, 400)
      }
      const read = (circuit: string) => ({
        circuit,
        instance: "i",
        sequence: 9,
        generation: 0,
        delta: failures(1),
        withins: []
      })
      const synced = yield* storage.sync([read("bad"), read("good")])
      assert.deepStrictEqual(synced.map(({ result }) => Result.isSuccess(result)), [false, true])
      assert.sameMembers(yield* Stream.runCollect(storage.list), ["bad", "good"])
    }).pipe(Effect.provide(layer)))

  it.live("is named where it is a circuit's document", () =>
    Effect.gen(function*() {
      const { bad } = yield* circuits
      const sql = yield* SqlClient.SqlClient
      yield* sql`UPDATE circuit_breaker_states SET document = '{"record":' WHERE service_name = 'bad'`
      assert.match(
        yield* causeOf(bad.read),
        /^circuit_breaker_states\.document of circuit "bad" cannot be read: .+repair/
      )
    }).pipe(Effect.provide(layer)))

  it.live("is named where it is an entry of the history", () =>
    Effect.gen(function*() {
      const { bad, storage } = yield* circuits
      const history = yield* SqlHistory.History
      const sql = yield* SqlClient.SqlClient
      const entry = JSON.stringify({ generation: 1, at: 1, from: "Closed", to: "Ajar", why: { reason: "r" } })
      yield* sql`UPDATE circuit_breaker_history SET entry = ${entry} WHERE service_name = 'bad'`
      for (const read of [storage.history(bad.name), history.entries(bad.name)]) {
        const cause = yield* causeOf(read)
        assert.include(cause, `circuit_breaker_history.entry of circuit "bad" cannot be read: field to holds "Ajar"`)
      }
    }).pipe(Effect.provide(layer)))

  it.live("is left for an operator by the clean-up", () =>
    Effect.gen(function*() {
      yield* circuits
      const history = yield* SqlHistory.History
      const sql = yield* SqlClient.SqlClient
      yield* sql`UPDATE circuit_breaker_states SET document = 'broken', expires_at = '2000-01-01' WHERE service_name = 'bad'`
      assert.strictEqual((yield* history.cleanUp).circuits, 0)
      assert.lengthOf(yield* sql`SELECT 1 FROM circuit_breaker_states WHERE document = 'broken'`, 1)
    }).pipe(Effect.provide(layer)))
})

describe("stored JSON", () => {
  const read = readerOf(Schema.Struct({ list: Schema.Array(Schema.Struct({ at: Schema.Finite })) }))

  it("keeps fields that this version does not know", () => {
    assert.deepStrictEqual<unknown>(read(`{"list":[{"at":1,"colour":"red"}]}`), { list: [{ at: 1, colour: "red" }] })
  })

  it("says where it is wrong", () => {
    assert.throws(
      () => read(`{"list":[{"at":1},{"at":"soon"}]}`),
      /^field list\[1\]\.at holds "soon", expected a number$/
    )
    assert.throws(() => read(`{"list":`), /^it holds "{\\"list\\":", expected JSON$/)
    assert.throws(() => read("null"), /^it holds null, expected an object$/)
  })
})

describe("statistics of a history", () => {
  const entry = (at: number, from: HistoryEntry["from"], to: HistoryEntry["to"]): HistoryEntry => ({
    generation: at,
    at,
    from,
    to,
    why: { reason: "r" }
  })
  const changes = [
    entry(100, "Closed", "Open"),
    entry(130, "Open", "HalfOpen"),
    entry(140, "HalfOpen", "Closed"),
    entry(200, "Closed", "Open")
  ]

  it("spend each moment of the range in one state", () => {
    const range = { sinceMillis: 50, untilMillis: 250 }
    assert.deepStrictEqual(millisInStates(undefined, changes, range), { Closed: 110, Open: 80, HalfOpen: 10 })
    assert.deepStrictEqual(millisInStates(changes[3], [], range), { Closed: 0, Open: 200, HalfOpen: 0 })
    assert.deepStrictEqual(millisInStates(undefined, [], range), { Closed: 200, Open: 0, HalfOpen: 0 })
  })

  it("time a recovery from leaving Closed to coming back", () => {
    assert.strictEqual(meanMillisToRecover(changes), 40)
    assert.isUndefined(meanMillisToRecover(changes.slice(2)))
  })
})

describe("an announcement", () => {
  it("that names no circuit may stand for any change", () => {
    assert.deepStrictEqual(announcementOf(`{"circuit":"a","generation":7}`), {
      _tag: "Changed",
      circuit: "a",
      generation: 7
    })
    for (const payload of ["", "{", "null", `{"circuit":1,"generation":7}`, `{"circuit":"a","generation":0.5}`]) {
      assert.deepStrictEqual(announcementOf(payload), { _tag: "Subscribed" })
    }
  })
})
