/** Exports imported elsewhere: every two of memory, Redis and the databases. */
import { Context, Effect, Layer } from "effect"
import { describe, inject } from "vitest"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { exchange } from "../support/archives.ts"
import { memory } from "../support/storages.ts"
import { build, databases, freshPrefix } from "./databases.ts"

describe("an archive", () => {
  exchange([
    { name: "memory", empty: memory },
    {
      name: "Redis",
      empty: Effect.suspend(() =>
        Layer.build(Layer.fresh(
          Layer.provide(
            RedisStorage.layer({ prefix: freshPrefix() }),
            IoRedis.layer(IoRedis.fromUrl(inject("redisUrl")))
          )
        ))
      ).pipe(Effect.map(Context.get(Storage)), Effect.orDie)
    },
    ...databases.map(({ client, name }) => ({
      name,
      empty: Effect.suspend(() => build(client(), { prefix: freshPrefix() }))
    }))
  ])
})
