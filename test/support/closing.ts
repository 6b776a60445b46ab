/** Closes clients of SQLite that have a statement under way. It has nothing else that would keep it running. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { layer } from "../../src/layers/Sqlite.ts"

for (let i = 0; i < 10; i++) {
  await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const context = yield* Layer.build(layer({ file: ":memory:" }))
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`SELECT 1`
      yield* Effect.forkChild(sql`SELECT 2`)
      yield* Effect.yieldNow
    }).pipe(Effect.provideContext(context))
  })))
}
console.log("closed")
