/**
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mysql2 } from "../internal/drivers/Mysql2.ts"
import { layerFrom } from "../internal/LayerConfig.ts"
import * as SqlStorage from "../Storage/Sql.ts"
import type { Storage } from "../Storage/Storage.ts"
import * as Mysql from "./Mysql.ts"

/**
 * Circuits in the MySQL or MariaDB at `MYSQL_URL`, with their history, shared by all processes with the same URL. Other
 * processes learn of a change at their next report, within an interval.
 *
 * Fails with a `ConfigError` if the URL is missing or malformed, and never because the server is down: breakers then go
 * by the calls of their own process, and join the fleet when the server is back.
 *
 * For options of your own, combine the two layers that it consists of: `SqlStorage.layer({ prefix })` from
 * `effect-breaker/Storage/Sql`, provided with `Mysql.layer(options)` from `effect-breaker/layers/Mysql`.
 *
 * @category layers
 * @since 0.1.0
 */
export const MysqlStorageLive: Layer.Layer<Storage, Config.ConfigError> = Layer.provide(
  SqlStorage.layer(),
  Mysql.layerConfig()
)

/**
 * The same storage, with options of the storage and of the client.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: SqlStorage.Options & Mysql.Options): Layer.Layer<Storage> =>
  Layer.provide(SqlStorage.layer(options), Mysql.layer(options))

/**
 * The same storage, with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<SqlStorage.Options & Mysql.Options>
): Layer.Layer<Storage, Config.ConfigError> => layerFrom(options, (options) => Effect.as(mysql2, layer(options)))
