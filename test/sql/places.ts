/** An empty storage of each kind: memory, files, Redis and the databases. */
import { Context, Effect, Layer } from "effect"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import type { Place } from "../support/archives.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { files, memory } from "../support/storages.ts"
import { build, databases, freshPrefix } from "./databases.ts"

/** A storage on the Redis at this address, under a prefix of its own. */
export const redisAt = (url: () => string): Place["empty"] =>
  Effect.suspend(() =>
    Layer.build(Layer.fresh(
      Layer.provide(RedisStorage.layer({ prefix: freshPrefix() }), IoRedis.layer(IoRedis.fromUrl(url())))
    ))
  ).pipe(Effect.map(Context.get(Storage)), Effect.orDie)

export const places: ReadonlyArray<Place> = [
  { name: "memory", empty: memory },
  { name: "files", empty: files },
  { name: "Redis", empty: redisAt(() => serverUrl("redis")) },
  ...databases.map(({ client, name }) => ({
    name,
    empty: Effect.suspend(() => build(client(), { prefix: freshPrefix() }))
  }))
]
