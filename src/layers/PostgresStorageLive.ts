/**
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { sqlPg } from "../internal/drivers/SqlPg.ts"
import { layerFrom } from "../internal/LayerConfig.ts"
import * as SqlStorage from "../Storage/Sql.ts"
import type { Storage } from "../Storage/Storage.ts"
import * as Postgres from "./Postgres.ts"

/**
 * Circuits in the Postgres at `DATABASE_URL`, with their history, shared by all processes with the same URL.
 *
 * Fails with a `ConfigError` if the URL is missing or malformed, and never because Postgres is down: breakers then go
 * by the calls of their own process, and join the fleet when Postgres is back.
 *
 * For options of your own, combine the two layers that it consists of: `SqlStorage.layer({ prefix })` from
 * `effect-breaker/Storage/Sql`, provided with `Postgres.layer(options)` from `effect-breaker/layers/Postgres`.
 *
 * @category layers
 * @since 0.1.0
 */
export const PostgresStorageLive: Layer.Layer<Storage, Config.ConfigError> = Layer.provide(
  SqlStorage.layer(),
  Postgres.layerConfig()
)

/**
 * The same storage, with options of the storage and of the client.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: SqlStorage.Options & Postgres.Options): Layer.Layer<Storage> =>
  Layer.provide(SqlStorage.layer(options), Postgres.layer(options))

/**
 * The same storage, with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<SqlStorage.Options & Postgres.Options>
): Layer.Layer<Storage, Config.ConfigError> => layerFrom(options, (options) => Effect.as(sqlPg, layer(options)))
