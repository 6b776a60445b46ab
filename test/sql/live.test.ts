/** The ready-made layers, configured by environment variables. */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { afterAll } from "vitest"
import { circuitOf } from "../../src/conformance/Law.ts"
import { MysqlStorageLive } from "../../src/layers/MysqlStorageLive.ts"
import { PostgresStorageLive } from "../../src/layers/PostgresStorageLive.ts"
import { SqliteStorageLive } from "../../src/layers/SqliteStorageLive.ts"
import { StorageLive } from "../../src/layers/StorageLive.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { freshPrefix } from "./databases.ts"

const directory = await temporaryDirectory()
afterAll(() => rm(directory, { recursive: true, force: true }))

type Environment = Readonly<Record<string, string>>

const within = <A, E>(layer: Layer.Layer<Storage, E>, env: Environment, effect: Effect.Effect<A, unknown, Storage>) =>
  effect.pipe(
    Effect.provide(Layer.fresh(layer).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env)))))
  )

/** Opens a circuit and reads it again. Returns the storage's backend and the circuit's state. */
const used = Effect.flatMap(Storage, (storage) => {
  const it = circuitOf(storage, freshPrefix())
  // Retried, because a loaded machine may miss the deadlines of the layers.
  return Effect.map(
    Effect.retry(Effect.andThen(it.open(), it.read), { times: 100 }),
    ({ state }) => [storage.backend, state._tag]
  )
})

const file = { SQLITE_FILE: join(directory, "deep", "circuits.sqlite") }

describe("CIRCUIT_BREAKER_PERSISTENCE", () => {
  const chosen = (value: string, env: Environment = {}) =>
    within(StorageLive, { CIRCUIT_BREAKER_PERSISTENCE: value, ...env }, used)

  it.live("CIRCUIT_BREAKER_PERSISTENCE names the storage", () =>
    Effect.gen(function*() {
      const [postgres, mysql] = [serverUrl("postgres"), serverUrl("mysql")]
      assert.deepEqual(yield* within(StorageLive, {}, used), ["memory", "Open"])
      assert.deepEqual(yield* chosen("memory"), ["memory", "Open"])
      const files = { CIRCUIT_BREAKER_FILE_DIR: join(directory, "circuits") }
      assert.deepEqual(yield* chosen("file", files), ["file", "Open"])
      assert.deepEqual(yield* chosen("sqlite", file), ["sqlite", "Open"])
      assert.deepEqual(yield* chosen("redis", { REDIS_URL: serverUrl("redis") }), ["redis", "Open"])
      assert.deepEqual(yield* chosen("postgres", { DATABASE_URL: postgres }), ["postgres", "Open"])
      assert.deepEqual(yield* chosen("mysql", { MYSQL_URL: mysql }), ["mysql", "Open"])
      assert.deepEqual(yield* chosen("database", { DATABASE_URL: postgres }), ["postgres", "Open"])
      assert.deepEqual(yield* chosen("database", { DATABASE_URL: mysql }), ["mysql", "Open"])
    }))

  it.live("a wrong CIRCUIT_BREAKER_PERSISTENCE, or one without its variables, is a ConfigError without secrets", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [string, Environment, RegExp]> = [
        ["oracle", {}, /memory/],
        ["sqlite", {}, /SQLITE_FILE/],
        ["postgres", {}, /DATABASE_URL/],
        ["postgres", { DATABASE_URL: "mysql://u:s3same@h/d" }, /DATABASE_URL must be like postgres:/],
        ["mysql", { MYSQL_URL: "s3same" }, /MYSQL_URL must be like mysql:/],
        ["database", { DATABASE_URL: "oracle://u:s3same@h/d" }, /must begin with postgres/]
      ]
      for (const [value, env, message] of wrong) {
        const error = yield* Effect.flip(chosen(value, env))
        assert.match(String(error), message)
        assert.notInclude(String(error), "s3same")
      }
    }))
})

describe("ready-made layers of databases", () => {
  it.live("SqliteStorageLive, PostgresStorageLive and MysqlStorageLive read their own variables", () =>
    Effect.gen(function*() {
      const postgres = {
        DATABASE_URL: serverUrl("postgres"),
        DATABASE_LISTEN_URL: serverUrl("postgres"),
        DATABASE_POOLER: "true"
      }
      assert.deepEqual(yield* within(SqliteStorageLive, file, used), ["sqlite", "Open"])
      assert.deepEqual(yield* within(PostgresStorageLive, postgres, used), ["postgres", "Open"])
      assert.deepEqual(yield* within(MysqlStorageLive, { MYSQL_URL: serverUrl("mysql") }, used), ["mysql", "Open"])
    }))
})
