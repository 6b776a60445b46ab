/**
 * Exports from one storage and imports into another, for every two that need no server. `test/sql/exchange.test.ts` has
 * the others.
 */
import { Context, Duration, Effect, Layer } from "effect"
import { describe } from "vitest"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import * as Sql from "../../src/Storage/Sql.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { exchange } from "../support/archives.ts"
import { files, memory } from "../support/storages.ts"
import { another } from "./table.ts"

const built = <E>(layer: Layer.Layer<Storage, E>) =>
  Effect.orDie(Effect.map(Layer.build(Layer.fresh(layer)), Context.get(Storage)))

describe("an archive", () => {
  exchange([
    { name: "memory", empty: memory },
    { name: "files", empty: files },
    { name: "a table", empty: Effect.suspend(() => built(another().layer({ idleTimeToLive: Duration.hours(1) }))) },
    { name: "SQLite", empty: built(Layer.provide(Sql.layer(), Sqlite.layer({ file: ":memory:" }))) }
  ])
})
