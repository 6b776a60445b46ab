/**
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ioredis } from "../internal/drivers/Ioredis.ts"
import { layerFrom } from "../internal/LayerConfig.ts"
import * as RedisStorage from "../Storage/Redis.ts"
import type { Storage } from "../Storage/Storage.ts"
import * as IoRedis from "./IoRedis.ts"

/**
 * Circuits in Redis by ioredis, shared by all processes that use the same Redis. `REDIS_URL`, or `REDIS_HOST` and
 * `REDIS_PORT`, say where it is: see `IoRedis.config`. Fails with a `ConfigError` if neither is set or one is invalid,
 * and never because Redis is away: breakers then decide on the calls of their own process, and join the fleet when
 * Redis is back.
 *
 * To give several prefixes one client, use the two layers that this one consists of: `RedisStorage.layer({ prefix })`
 * from `effect-breaker/Storage/Redis`, provided with `IoRedis.layer(options)` from `effect-breaker/layers/IoRedis`.
 *
 * @category layers
 * @since 0.1.0
 */
export const RedisStorageLive: Layer.Layer<Storage, Config.ConfigError> = Layer.provide(
  RedisStorage.layer(),
  IoRedis.layerConfig()
)

/**
 * The same with options for the storage and the client.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: RedisStorage.Options & IoRedis.Options = {}): Layer.Layer<Storage> =>
  Layer.provide(RedisStorage.layer(options), IoRedis.layer(options))

/**
 * The same with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<RedisStorage.Options & IoRedis.Options>
): Layer.Layer<Storage, Config.ConfigError> => layerFrom(options, (options) => Effect.as(ioredis, layer(options)))
