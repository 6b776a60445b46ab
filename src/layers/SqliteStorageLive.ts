/**
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlStorage from "../Storage/Sql.ts"
import type { Storage } from "../Storage/Storage.ts"
import * as Sqlite from "./Sqlite.ts"

/**
 * Circuits in the SQLite file that `SQLITE_FILE` names, which outlive the process and may be shared by several of one host.
 * Fails with a `ConfigError` where it is not set. What is wrong with the file itself is told by the first operations, and
 * stops nothing: breakers then go by what their own process sees.
 *
 * Needs nothing but Node 22.19 or newer.
 *
 * @category layers
 * @since 0.1.0
 */
export const SqliteStorageLive: Layer.Layer<Storage, Config.ConfigError> = Layer.provide(
  SqlStorage.layer(),
  Sqlite.layerConfig()
)

/**
 * The same with options of your own, of the storage and of the client.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: SqlStorage.Options & Sqlite.Options): Layer.Layer<Storage> =>
  Layer.provide(SqlStorage.layer(options), Sqlite.layer(options))

/**
 * The same with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<SqlStorage.Options & Sqlite.Options>
): Layer.Layer<Storage, Config.ConfigError> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))
