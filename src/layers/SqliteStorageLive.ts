/**
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerFrom } from "../internal/LayerConfig.ts"
import * as SqlStorage from "../Storage/Sql.ts"
import type { Storage } from "../Storage/Storage.ts"
import * as Sqlite from "./Sqlite.ts"

/**
 * Circuits in the SQLite file at `SQLITE_FILE`. They outlive the process, and several processes of one host may share
 * them.
 *
 * Fails with a `ConfigError` if the variable is missing. A file that cannot be used fails the first operations and not
 * the layer: breakers then go by the calls of their own process.
 *
 * Needs Node 22.19 or newer, and no package.
 *
 * @category layers
 * @since 0.1.0
 */
export const SqliteStorageLive: Layer.Layer<Storage, Config.ConfigError> = Layer.provide(
  SqlStorage.layer(),
  Sqlite.layerConfig()
)

/**
 * The same storage, with options of the storage and of the client.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: SqlStorage.Options & Sqlite.Options): Layer.Layer<Storage> =>
  Layer.provide(SqlStorage.layer(options), Sqlite.layer(options))

/**
 * The same storage, with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<SqlStorage.Options & Sqlite.Options>
): Layer.Layer<Storage, Config.ConfigError> => layerFrom(options, (options) => Effect.succeed(layer(options)))
