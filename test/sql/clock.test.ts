/** A database whose clock was set back, as by a failover to a server whose clock is behind. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { failures, MINUTE, success } from "../../src/conformance/Law.ts"
import { eventually } from "../support/machine.ts"
import { circuit, databases, layerOn } from "./databases.ts"

const HOUR = 3_600_000
const OPEN_FOR = 2000

interface Times {
  readonly usedAt: number
  readonly changedAt: number
  readonly hintUntil: number
  readonly state: { readonly until?: number; readonly leases?: ReadonlyArray<{ readonly until: number }> }
}

const anHourLater = <R extends Times>(record: R): R => ({
  ...record,
  usedAt: record.usedAt + HOUR,
  changedAt: record.changedAt + HOUR,
  hintUntil: record.hintUntil + HOUR,
  state: {
    ...record.state,
    ...(record.state.until === undefined ? {} : { until: record.state.until + HOUR }),
    ...(record.state.leases === undefined
      ? {}
      : { leases: record.state.leases.map((lease) => ({ ...lease, until: lease.until + HOUR })) })
  }
})

/** As if a server whose clock is an hour ahead had written the circuit until now. */
const written = (name: string) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const where = sql`WHERE service_name = ${name}`
    const [row] = yield* sql<{ readonly document: string }>`SELECT document FROM circuit_breaker_states ${where}`
    const { record, ...others } = JSON.parse(row!.document)
    const document = JSON.stringify({ ...others, record: anHourLater(record) })
    yield* sql`UPDATE circuit_breaker_states SET document = ${document} ${where}`
  })

describe("a database whose clock was set back", () => {
  for (const database of databases) {
    it.live(`no time is longer than it was where ${database.name}'s clock is an hour behind (R8)`, () =>
      Effect.gen(function*() {
        const it = yield* circuit("set back ")
        yield* it.open({ openFor: OPEN_FOR, maxOpenFor: OPEN_FOR })
        yield* written(it.name)
        yield* it.report(failures(1, MINUTE))
        const opened = yield* it.read
        assert.isTrue(opened.state._tag === "Open" && opened.state.remaining <= OPEN_FOR)
        assert.isAtMost(opened.hint, MINUTE)
        assert.strictEqual(opened.lifetime.failure, 1)
        assert.isFalse((yield* it.ask("a")).granted)
        yield* eventually(
          "the open time is over by this server's clock",
          Effect.map(it.ask("a", { sequence: 2 }), ({ granted }) => granted)
        )
        yield* written(it.name)
        const probing = yield* it.read
        assert.isTrue(probing.state._tag === "HalfOpen" && probing.state.nextLapse! <= MINUTE)
        assert.isFalse((yield* it.ask("b")).granted)
        assert.isTrue((yield* it.settle("a", success(), { sequence: 2 })).granted)
      }).pipe(Effect.provide(layerOn(database))))
  }
})
