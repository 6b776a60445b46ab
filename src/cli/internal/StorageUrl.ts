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
import * as Redacted from "effect/Redacted"
import { existsSync, statSync } from "node:fs"
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

/** The storage of a URL. */
const fromUrl = (
  url: string,
  { idle, prefix, schema }: StorageFlags,
  { create }: Making
): Effect.Effect<Found, CliFailure> => {
  const scheme = schemeOf(url)
  const keep = Option.match(idle, { onNone: () => ({}), onSome: (idleTimeToLive) => ({ idleTimeToLive }) })
  const named = { ...keep, ...Option.match(prefix, { onNone: () => ({}), onSome: (prefix) => ({ prefix }) }) }
  const sql = {
    ...named,
    ...Option.match(schema, { onNone: () => ({}), onSome: (schema) => ({ schema }) }),
    migrate: create,
    cleanUp: false
  }
  const secrets = secretsIn(url)
  switch (scheme) {
    case "redis":
    case "rediss":
    case "redis+cluster":
    case "rediss+cluster":
    case "redis+sentinel":
    case "rediss+sentinel":
      return Effect.gen(function*() {
        const { layerConfig } = yield* imported(() => import("../../layers/RedisStorageLive.ts"))
        const { fromUrl } = yield* imported(() => import("../../layers/IoRedis.ts"))
        const options = yield* checked(() => fromUrl(url))
        return { name: "redis", layer: layerConfig(Config.succeed({ ...named, ...options })), secrets }
      })
    case "postgres":
    case "postgresql":
      return Effect.gen(function*() {
        const { layerConfig } = yield* imported(() => import("../../layers/PostgresStorageLive.ts"))
        yield* checkDatabaseUrl("postgres", url)
        return { name: "postgres", layer: layerConfig(Config.succeed({ ...sql, url: Redacted.make(url) })), secrets }
      })
    case "mysql":
    case "mariadb":
      return Effect.gen(function*() {
        const { layerConfig } = yield* imported(() => import("../../layers/MysqlStorageLive.ts"))
        yield* checkDatabaseUrl("mysql", url)
        return { name: "mysql", layer: layerConfig(Config.succeed({ ...sql, url: Redacted.make(url) })), secrets }
      })
    case "sqlite": {
      const file = pathOf(url)
      if (!create && !existsSync(file)) return Effect.fail(missing("file", file))
      return Effect.map(imported(() => import("../../layers/SqliteStorageLive.ts")), ({ layerConfig }) => ({
        name: `sqlite ${file}`,
        layer: layerConfig(Config.succeed({ ...sql, file })),
        secrets: []
      }))
    }
    case "file": {
      const directory = pathOf(url)
      if (!create && statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
        return Effect.fail(missing("directory", directory))
      }
      return Effect.map(imported(() => import("../../layers/FileStorageLive.ts")), ({ layerConfig }) => ({
        name: `file ${directory}`,
        layer: layerConfig(Config.succeed({ ...keep, directory, cleanUp: false })),
        secrets: []
      }))
    }
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

const fromRedisVariables = ({ idle, prefix }: StorageFlags): Effect.Effect<Found, Config.ConfigError> =>
  Effect.gen(function*() {
    const { layerConfig } = yield* imported(() => import("../../layers/RedisStorageLive.ts"))
    const { config } = yield* imported(() => import("../../layers/IoRedis.ts"))
    const options = yield* config
    const secrets = [options.password, options.sentinelPassword].flatMap((secret) =>
      secret === undefined ? [] : [Redacted.value(secret)]
    )
    const named = {
      ...Option.match(idle, { onNone: () => ({}), onSome: (idleTimeToLive) => ({ idleTimeToLive }) }),
      ...Option.match(prefix, { onNone: () => ({}), onSome: (prefix) => ({ prefix }) })
    }
    return { name: "redis", layer: layerConfig(Config.succeed({ ...named, ...options })), secrets }
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
