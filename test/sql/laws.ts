/** The conformance suite on a database. Its `rewrite` changes records behind the storage's back. */
import { describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { created } from "../../src/core/Record.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { retryWhenLate, scaledMillis } from "../support/machine.ts"
import { type Database, PATIENT } from "./databases.ts"

const rewrite = (circuit: string, f: (record: Readonly<Record<string, unknown>>) => unknown) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const where = sql`WHERE service_name = ${circuit}`
    const rows = yield* sql<{ readonly document: string | null }>`SELECT document FROM circuit_breaker_states ${where}`
    // Before its first change a circuit has counts and no document.
    const document = rows[0]?.document ?? JSON.stringify({ record: created(Date.now()), history: [] })
    const { record, ...others } = JSON.parse(document)
    const next = f(record)
    if (next === record) return
    const rewritten = JSON.stringify({ ...others, record: next })
    yield* sql`UPDATE circuit_breaker_states SET document = ${rewritten} ${where}`
  })

/** Runs all laws, each as a test. */
export const conforms = ({ capabilities, client, name }: Database): void => {
  describe(`conformance: ${name}`, () => {
    const laws = Conformance.laws({
      capabilities,
      layer: ({ idleTimeToLive }) =>
        Layer.provide(SqlStorage.layer({ ...PATIENT, idleTimeToLive }), Layer.suspend(() => client())),
      advance: Effect.sleep,
      unit: scaledMillis(100),
      maxBlocking: scaledMillis(250),
      rewrite: (circuit, f) => Effect.provide(rewrite(circuit, f), Layer.fresh(Layer.suspend(() => client())))
    })
    for (const law of laws) it.live(law.name, () => retryWhenLate(law.check))
  })
}
