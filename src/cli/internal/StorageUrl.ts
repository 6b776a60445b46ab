/**
 * The storage that the command line or the environment names. Only its own driver is loaded.
 *
 * **Invariants**
 *
 * - No error quotes a URL, because it may hold a password.
 * - Nothing is created: a file or a directory that is not there is an error, and tables are only made by those commands that write
 *   whole storages.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Redis } from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import type { SqlClient } from "effect/sql/SqlClient"
import { existsSync, statSync } from "node:fs"
import type { Options as RedisOptions } from "../../Storage/Redis.ts"
import type { KeepOptions, TableOptions } from "../../Storage/SqlHistory.ts"
import type { Storage } from "../../Storage/Storage.ts"
import { type CliFailure, usage } from "./Failure.ts"

/** Where circuits are, and the options that their services give the storage. */
export interface StorageFlags {
  readonly storage: Option.Option<string>
  readonly prefix: Option.Option<string>
  readonly schema: Option.Option<string>
  readonly idle: Option.Option<number>
}

/** Whether a database gets the tables that it lacks, and a file or directory is made. */
export interface Making {
  readonly create: boolean
}

export interface Found {
  /** For people, without a password: `redis`, `sqlite ./circuits.db`. */
  readonly name: string
  readonly layer: Layer.Layer<Storage, Config.ConfigError>
  /** Texts that no output may show. */
  readonly secrets: ReadonlyArray<string>
  /** The client that `clean-up` needs, and the options of the storage. Absent where services clean up by themselves. */
  readonly client?: Client | undefined
}

type Client =
  | {
    readonly _tag: "Sql"
    readonly layer: Effect.Effect<Layer.Layer<SqlClient, Config.ConfigError>>
    readonly options: TableOptions & KeepOptions
  }
  | {
    readonly _tag: "Redis"
    readonly layer: Effect.Effect<Layer.Layer<Redis, Config.ConfigError>>
    readonly options: RedisOptions
  }

const SCHEMES =
  "redis:, rediss:, redis+cluster:, redis+sentinel:, postgres:, mysql:, mariadb:, sqlite:PATH or file:DIRECTORY"

const imported = <M>(load: () => Promise<M>): Effect.Effect<M> => Effect.promise(load)

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The passwords in a URL, as they stand there and decoded: of the user, and of a parameter. */
const secretsIn = (url: string): ReadonlyArray<string> => {
  const [, user = ""] = /^[^:]*:\/\/([^/?#]*)@/.exec(url) ?? []
  const [, parameter = ""] = /[?&]password=([^&]*)/i.exec(url) ?? []
  const password = user.includes(":") ? user.slice(user.indexOf(":") + 1) : ""
  return [url, password, decoded(password), parameter, decoded(parameter)].filter((secret) => secret !== "")
}

const schemeOf = (url: string): string => (/^([a-z][a-z0-9+]*):/i.exec(url)?.[1] ?? "").toLowerCase()

/** A path of `sqlite:PATH`, `file:PATH`, and of these with `//` before an absolute path. */
const pathOf = (url: string): string => url.slice(url.indexOf(":") + 1).replace(/^\/\/(?=[/.])/, "")

const missing = (what: string, path: string): CliFailure =>
  usage(`There is no ${what} ${JSON.stringify(path)}: check the path`)

const checked = <A>(f: () => A): Effect.Effect<A, CliFailure> =>
  Effect.try({
    try: f,
    catch: (error) =>
      usage(error instanceof RangeError ? error.message : "The URL of the storage is not correctly percent-encoded")
  })

/** The options that the flags give a storage. */
const optionsOf = ({ idle, prefix, schema }: StorageFlags) => {
  const given = <const K extends string, A>(key: K, option: Option.Option<A>): { readonly [_ in K]?: A } =>
    Option.isSome(option) ? { [key]: option.value } as { readonly [_ in K]: A } : {}
  const keep = given("idleTimeToLive", idle)
  const named = { ...keep, ...given("prefix", prefix) }
  return { keep, named, tables: { ...named, ...given("schema", schema) } }
}

type Options = ReturnType<typeof optionsOf>

const redis = (url: string, { named }: Options): Effect.Effect<Found, CliFailure> =>
  Effect.gen(function*() {
    const { layerConfig } = yield* imported(() => import("../../layers/RedisStorageLive.ts"))
    const driver = yield* imported(() => import("../../layers/IoRedis.ts"))
    const options = yield* checked(() => driver.fromUrl(url))
    return {
      name: "redis",
      layer: layerConfig(Config.succeed({ ...named, ...options })),
      secrets: secretsIn(url),
      client: { _tag: "Redis", layer: Effect.succeed(driver.layerConfig(Config.succeed(options))), options: named }
    }
  })

const postgres = (url: string, { tables }: Options, create: boolean): Effect.Effect<Found, CliFailure> =>
  Effect.gen(function*() {
    const { layerConfig } = yield* imported(() => import("../../layers/PostgresStorageLive.ts"))
    yield* checkDatabaseUrl("postgres", url)
    const options = { url: Redacted.make(url) }
    const client = imported(() => import("../../layers/Postgres.ts"))
    return {
      name: "postgres",
      layer: layerConfig(Config.succeed({ ...tables, ...options, migrate: create, cleanUp: false })),
      secrets: secretsIn(url),
      client: {
        _tag: "Sql",
        layer: Effect.map(client, ({ layerConfig }) => layerConfig(Config.succeed(options))),
        options: tables
      }
    }
  })

const mysql = (url: string, { tables }: Options, create: boolean): Effect.Effect<Found, CliFailure> =>
  Effect.gen(function*() {
    const { layerConfig } = yield* imported(() => import("../../layers/MysqlStorageLive.ts"))
    yield* checkDatabaseUrl("mysql", url)
    const options = { url: Redacted.make(url) }
    const client = imported(() => import("../../layers/Mysql.ts"))
    return {
      name: "mysql",
      layer: layerConfig(Config.succeed({ ...tables, ...options, migrate: create, cleanUp: false })),
      secrets: secretsIn(url),
      client: {
        _tag: "Sql",
        layer: Effect.map(client, ({ layerConfig }) => layerConfig(Config.succeed(options))),
        options: tables
      }
    }
  })

const sqlite = (file: string, { tables }: Options, create: boolean): Effect.Effect<Found, CliFailure> =>
  Effect.gen(function*() {
    if (!create && !existsSync(file)) return yield* missing("file", file)
    const { layerConfig } = yield* imported(() => import("../../layers/SqliteStorageLive.ts"))
    const client = imported(() => import("../../layers/Sqlite.ts"))
    return {
      name: `sqlite ${file}`,
      layer: layerConfig(Config.succeed({ ...tables, file, migrate: create, cleanUp: false })),
      secrets: [],
      client: {
        _tag: "Sql",
        layer: Effect.map(client, ({ layerConfig }) => layerConfig(Config.succeed({ file }))),
        options: tables
      }
    }
  })

const files = (directory: string, { keep }: Options, create: boolean): Effect.Effect<Found, CliFailure> =>
  Effect.gen(function*() {
    if (!create && statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
      return yield* missing("directory", directory)
    }
    const { layerConfig } = yield* imported(() => import("../../layers/FileStorageLive.ts"))
    return {
      name: `file ${directory}`,
      layer: layerConfig(Config.succeed({ ...keep, directory, cleanUp: false })),
      secrets: []
    }
  })

/** The storage of a URL. */
const fromUrl = (url: string, flags: StorageFlags, { create }: Making): Effect.Effect<Found, CliFailure> => {
  const options = optionsOf(flags)
  switch (schemeOf(url)) {
    case "redis":
    case "rediss":
    case "redis+cluster":
    case "rediss+cluster":
    case "redis+sentinel":
    case "rediss+sentinel":
      return redis(url, options)
    case "postgres":
    case "postgresql":
      return postgres(url, options, create)
    case "mysql":
    case "mariadb":
      return mysql(url, options, create)
    case "sqlite":
      return sqlite(pathOf(url), options, create)
    case "file":
      return files(pathOf(url), options, create)
    case "memory":
      return Effect.fail(usage(NOT_MEMORY))
    default:
      return Effect.fail(usage(`The URL of a storage begins with ${SCHEMES}`))
  }
}

const NOT_MEMORY =
  "Circuits in memory are another process's, and end with it: only a storage that processes share can be read from here"

const checkDatabaseUrl = (driver: "postgres" | "mysql", url: string): Effect.Effect<void, CliFailure> =>
  Effect.flatMap(
    imported(() => import("../../sql/DatabaseUrl.ts")),
    ({ readDatabaseUrl }) => Effect.asVoid(checked(() => readDatabaseUrl(driver, url)))
  )

const variable = (name: string): Effect.Effect<string, CliFailure> =>
  Effect.mapError(
    Config.String(name),
    () => usage(`${name} is not set, and CIRCUIT_BREAKER_PERSISTENCE says that the storage is there`)
  )

/** The storage that a service would use by `StorageLive`, from the same variables. */
const fromPersistence = (
  persistence: string,
  flags: StorageFlags,
  making: Making
): Effect.Effect<Found, CliFailure | Config.ConfigError> => {
  const from = (url: Effect.Effect<string, CliFailure>) => Effect.flatMap(url, (url) => fromUrl(url, flags, making))
  switch (persistence) {
    case "memory":
      return Effect.fail(usage(NOT_MEMORY))
    case "file":
      return Effect.flatMap(
        Config.withDefault(Config.String("CIRCUIT_BREAKER_FILE_DIR"), "./.circuit_breaker"),
        (directory) => from(Effect.succeed(`file:${directory}`))
      )
    case "sqlite":
      return from(Effect.map(variable("SQLITE_FILE"), (file) => `sqlite:${file}`))
    case "postgres":
    case "database":
      return from(variable("DATABASE_URL"))
    case "mysql":
      return from(variable("MYSQL_URL"))
    case "redis":
      return fromRedisVariables(flags)
    default:
      return Effect.fail(usage(
        "CIRCUIT_BREAKER_PERSISTENCE must be one of file, sqlite, redis, database, postgres, mysql"
      ))
  }
}

const fromRedisVariables = (flags: StorageFlags): Effect.Effect<Found, Config.ConfigError> =>
  Effect.gen(function*() {
    const { layerConfig } = yield* imported(() => import("../../layers/RedisStorageLive.ts"))
    const driver = yield* imported(() => import("../../layers/IoRedis.ts"))
    const options = yield* driver.config
    const { named } = optionsOf(flags)
    return {
      name: "redis",
      layer: layerConfig(Config.succeed({ ...named, ...options })),
      secrets: [options.password, options.sentinelPassword].flatMap((secret) =>
        secret === undefined ? [] : [Redacted.value(secret)]
      ),
      client: { _tag: "Redis", layer: Effect.succeed(driver.layerConfig(Config.succeed(options))), options: named }
    }
  })

/** The storage of `--storage`, else of `CIRCUIT_BREAKER_STORAGE`, else of what `CIRCUIT_BREAKER_PERSISTENCE` names. */
export const findStorage = (
  flags: StorageFlags,
  making: Making
): Effect.Effect<Found, CliFailure | Config.ConfigError> =>
  Effect.gen(function*() {
    if (Option.isSome(flags.storage)) return yield* fromUrl(flags.storage.value, flags, making)
    const url = yield* Config.option(Config.String("CIRCUIT_BREAKER_STORAGE"))
    if (Option.isSome(url)) return yield* fromUrl(url.value, flags, making)
    const persistence = yield* Config.option(Config.String("CIRCUIT_BREAKER_PERSISTENCE"))
    if (Option.isSome(persistence)) return yield* fromPersistence(persistence.value, flags, making)
    return yield* usage(
      `No storage is named: give --storage URL or set CIRCUIT_BREAKER_STORAGE. A URL begins with ${SCHEMES}`
    )
  })
