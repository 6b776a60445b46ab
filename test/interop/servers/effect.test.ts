/** Effect's breaker on our storages, and ours as Effect's, on real servers. */
import { describe } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { CircuitBreaker } from "effect/persistence"
import * as EffectCircuitBreaker from "../../../src/interop/EffectCircuitBreaker.ts"
import * as IoRedis from "../../../src/layers/IoRedis.ts"
import { Storage } from "../../../src/Storage/Storage.ts"
import { build, databases, freshPrefix } from "../../sql/databases.ts"
import { redisAt } from "../../sql/places.ts"
import { serverUrl } from "../../support/servers/shared.ts"
import * as BreakerLaws from "../laws/breaker.ts"
import * as HttpLaws from "../laws/http.ts"
import { checkAll, realTime } from "../laws/law.ts"
import * as StoreLaws from "../laws/store.ts"
import { onStore, ours, subjectOn } from "../support.ts"

const ofStores = [...StoreLaws.laws, ...StoreLaws.sharedLaws]
const ofBreakers = [...BreakerLaws.laws, ...HttpLaws.laws]

const places = [
  { name: "Redis", storage: redisAt(() => serverUrl("redis")) },
  ...databases.filter(({ name }) => name !== "SQLite").map(({ client, name }) => ({
    name,
    storage: Effect.suspend(() => build(client(), { prefix: freshPrefix() }))
  }))
]

describe("the laws hold for Effect's store on Redis", () => {
  checkAll(
    ofStores,
    realTime,
    Effect.sync(() => {
      const prefix = freshPrefix()
      return {
        ...realTime,
        store: ({ probeLeaseMillis }: StoreLaws.Lease = {}) =>
          CircuitBreaker.layerStoreRedis({ prefix, probeLease: probeLeaseMillis }).pipe(
            Layer.provide(IoRedis.layer(IoRedis.fromUrl(serverUrl("redis")))),
            Layer.fresh,
            Layer.build,
            Effect.map(Context.get(CircuitBreaker.CircuitBreakerStore))
          )
      }
    })
  )
})

for (const { name, storage } of places) {
  describe(`layerStore on ${name}`, () => {
    checkAll([...ofStores, ...StoreLaws.ownLaws], realTime, subjectOn(realTime, storage))
  })

  describe(`Effect's breaker on ${name}`, () => {
    const subject = Effect.map(storage, (storage) => {
      const store = Layer.provide(
        EffectCircuitBreaker.layerStore({ prefix: freshPrefix() }),
        Layer.succeed(Storage, storage)
      )
      return onStore(realTime, store)
    })
    checkAll(ofBreakers, realTime, subject)
  })

  describe(`our breaker as Effect's, on ${name}`, () => {
    checkAll(ofBreakers, realTime, ours(realTime, storage))
  })
}
