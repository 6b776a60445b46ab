/** The databases that tests run on, and storages on them. */
import { Cause, Context, Effect, Layer, Redacted, type Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { afterAll } from "vitest"
import { circuitOf } from "../../src/conformance/Law.ts"
import * as Mysql from "../../src/layers/Mysql.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { type Capabilities, Storage, StorageError } from "../../src/Storage/Storage.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { serverUrl } from "../support/servers/shared.ts"

export interface Database {
  readonly name: string
  readonly capabilities: Capabilities
  /** Returns the layer of a new client each time. */
  readonly client: (options?: ClientOptions) => Layer.Layer<SqlClient.SqlClient>
}

interface ClientOptions {
  /** Another database of the same server, for Postgres. */
  readonly database?: string
  readonly maxConnections?: number
}

/** Longer than a loaded machine takes, for tests of something other than deadlines. */
export const PATIENT = { deadline: "10 minutes" } as const
export const PATIENT_CLIENT = { connectTimeout: "10 minutes", statementTimeout: "10 minutes" } as const

const all = { durable: true, history: true, fences: true, bells: true }

const directory = await temporaryDirectory()
afterAll(() => rm(directory, { recursive: true, force: true }))

export const sqlite: Database = {
  name: "SQLite",
  capabilities: { ...all, shared: false, pushes: false },
  client: () => Sqlite.layer({ file: join(directory, "circuits.sqlite"), busyTimeout: "10 minutes" })
}

export const postgres: Database = {
  name: "Postgres",
  capabilities: { ...all, shared: true, pushes: true },
  client: ({ database, ...options } = {}) => {
    const url = new URL(serverUrl("postgres"))
    if (database !== undefined) url.pathname = database
    return Postgres.layer({ ...PATIENT_CLIENT, ...options, url: Redacted.make(url.href) })
  }
}

export const mariadb: Database = {
  name: "MariaDB",
  capabilities: { ...all, shared: true, pushes: false },
  client: (options) => Mysql.layer({ ...PATIENT_CLIENT, ...options, url: Redacted.make(serverUrl("mysql")) })
}

export const databases = [sqlite, postgres, mariadb]

/** A storage with a client of its own, as another process would have it, until the scope closes. */
export const build = (
  client: Layer.Layer<SqlClient.SqlClient>,
  options?: SqlStorage.Options
): Effect.Effect<Storage, never, Scope.Scope> =>
  Effect.map(
    Layer.build(Layer.fresh(Layer.provide(SqlStorage.layer({ ...PATIENT, ...options }), client))),
    Context.get(Storage)
  )

/** A storage and its client. */
export const layerOn = (database: Database, options?: SqlStorage.Options) =>
  Layer.provideMerge(SqlStorage.layer({ ...PATIENT, ...options }), database.client())

/** A circuit that no other test uses, in the `Storage` of the context. */
export const circuit = (label = "") =>
  Effect.map(Storage, (storage) => circuitOf(storage, `${label}${Math.random().toString(36).slice(2)}`))

/** A prefix that no other test uses. */
export const freshPrefix = (): string => `t${Math.random().toString(36).slice(2, 10)}_`

/** The error of an operation, which must fail with a `StorageError`. */
export const errorOf = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<StorageError, never, R> =>
  Effect.flatMap(
    Effect.sandbox(Effect.flip(effect)).pipe(Effect.orDie),
    (error) => error instanceof StorageError ? Effect.succeed(error) : Effect.die(Cause.fail(error))
  )
