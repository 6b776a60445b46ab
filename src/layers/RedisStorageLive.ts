/**
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RedisStorage from "../Storage/Redis.ts"
import type { Storage } from "../Storage/Storage.ts"
import * as IoRedis from "./IoRedis.ts"

/**
 * Circuits in Redis, shared by all processes that name the same one, by ioredis: `REDIS_URL` says which, or `REDIS_HOST` and
 * `REDIS_PORT` do (see `IoRedis.config`). Fails with a `ConfigError` where neither is set or one is wrong, and never because
 * Redis is away: breakers then go by what their own process sees, and join the fleet when it is back.
 *
 * For options of your own, put the two layers that it is made of together: `RedisStorage.layer({ prefix })` from
 * `effect-breaker/Storage/Redis`, provided with `IoRedis.layer(options)` from `effect-breaker/layers/IoRedis`.
 *
 * @category layers
 * @since 0.1.0
 */
export const RedisStorageLive: Layer.Layer<Storage, Config.ConfigError> = Layer.provide(
  RedisStorage.layer(),
  IoRedis.layerConfig()
)

/**
 * The same with options of your own, of the storage and of the client.
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
): Layer.Layer<Storage, Config.ConfigError> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))
