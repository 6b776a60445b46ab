/**
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { configErrorOf } from "../internal/ConfigErrors.ts"
import { driverOf, urlFrom } from "../sql/DatabaseUrl.ts"
import type { Storage } from "../Storage/Storage.ts"
import { MemoryStorageLive } from "./MemoryStorageLive.ts"

/** A storage whose module is loaded only where it is used. */
const loaded = <M>(
  load: () => Promise<M>,
  layer: (module: M) => Layer.Layer<Storage, Config.ConfigError>
): Effect.Effect<Layer.Layer<Storage, Config.ConfigError>> => Effect.map(Effect.promise(load), layer)

const file = loaded(() => import("./FileStorageLive.ts"), (module) => module.FileStorageLive)
const sqlite = loaded(() => import("./SqliteStorageLive.ts"), (module) => module.SqliteStorageLive)
const redis = loaded(() => import("./RedisStorageLive.ts"), (module) => module.RedisStorageLive)
const postgres = loaded(() => import("./PostgresStorageLive.ts"), (module) => module.PostgresStorageLive)
const mysql = loaded(() => import("./MysqlStorageLive.ts"), (module) => module.MysqlStorageLive)

const database = Effect.flatMap(
  Config.Redacted("DATABASE_URL"),
  (url): Effect.Effect<Layer.Layer<Storage, Config.ConfigError>, Config.ConfigError> => {
    switch (driverOf(Redacted.value(url))) {
      case "postgres":
        return postgres
      case "mysql":
        return loaded(
          () => import("./MysqlStorageLive.ts"),
          (module) => module.layerConfig({ url: urlFrom("mysql", "DATABASE_URL") })
        )
      case undefined:
        return Effect.fail(configErrorOf("DATABASE_URL must begin with postgres:// or mysql://"))
    }
  }
)

const stores = { memory: Effect.succeed(MemoryStorageLive), file, sqlite, redis, database, postgres, mysql }

/**
 * The storage that `CIRCUIT_BREAKER_PERSISTENCE` names. Only the driver of that storage is loaded.
 *
 * | value      | circuits are in                                        | needs                             |
 * | ---------- | ------------------------------------------------------ | --------------------------------- |
 * | `memory`   | the memory of this process; the default                |                                   |
 * | `file`     | files of this host                                     | `CIRCUIT_BREAKER_FILE_DIR`;       |
 * |            |                                                        | `@effect/platform-node`           |
 * | `sqlite`   | a file of this host                                    | `SQLITE_FILE`                     |
 * | `redis`    | Redis                                                  | `REDIS_URL`; `ioredis`            |
 * | `postgres` | Postgres                                               | `DATABASE_URL`; `@effect/sql-pg`  |
 * | `mysql`    | MySQL or MariaDB                                       | `MYSQL_URL`; `mysql2`             |
 * | `database` | Postgres, MySQL or MariaDB, as the URL begins          | `DATABASE_URL`                    |
 *
 * Fails with a `ConfigError` for any other value, if a variable that it needs is missing, or if its package is not
 * installed; the message then has the command that installs it.
 *
 * Bundlers build it with the packages that are installed. See "Bundlers" in docs/choosing-a-storage.md.
 *
 * @category layers
 * @since 0.1.0
 */
export const StorageLive: Layer.Layer<Storage, Config.ConfigError> = Layer.unwrap(
  Effect.flatMap(
    Config.withDefault(
      Config.Literals(
        ["memory", "file", "sqlite", "redis", "database", "postgres", "mysql"],
        "CIRCUIT_BREAKER_PERSISTENCE"
      ),
      "memory" as const
    ),
    (name): Effect.Effect<Layer.Layer<Storage, Config.ConfigError>, Config.ConfigError> => stores[name]
  )
)
