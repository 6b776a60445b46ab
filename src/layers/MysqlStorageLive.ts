/**
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlStorage from "../Storage/Sql.ts"
import type { Storage } from "../Storage/Storage.ts"
import * as Mysql from "./Mysql.ts"

/**
 * Circuits in the MySQL or MariaDB that `MYSQL_URL` names, shared by all processes that name the same one, with their history. Changes are known to the others at their next report, within an interval.
 * Fails with a `ConfigError` where it is not set or no such URL, and never because the server is away: breakers then go by what
 * their own process sees, and join the fleet when it is back.
 *
 * For options of your own, put the two layers that it is made of together: `SqlStorage.layer({ prefix })` from
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
 * The same with options of your own, of the storage and of the client.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: SqlStorage.Options & Mysql.Options): Layer.Layer<Storage> =>
  Layer.provide(SqlStorage.layer(options), Mysql.layer(options))

/**
 * The same with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<SqlStorage.Options & Mysql.Options>
): Layer.Layer<Storage, Config.ConfigError> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))
