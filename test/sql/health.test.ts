/** The health of storages on real servers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Health from "../../src/Storage/Health.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { places, redisAt } from "./places.ts"

describe("a probe", () => {
  for (const { empty, name } of places) {
    it.live(`finds ${name} healthy, and its record is in no list`, () =>
      Effect.gen(function*() {
        const storage = yield* empty
        for (let i = 0; i < 3; i++) {
          const { error, verified } = yield* Health.check(storage, { deadline: "20 seconds" })
          assert.deepStrictEqual([error, verified], [undefined, true])
        }
        assert.deepStrictEqual(yield* Stream.runCollect(storage.list), [])
      }))
  }

  it.live("sees within its deadline that a Redis has stopped", () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => RedisServer.start()),
        (server) => Effect.promise(() => server.stop())
      )
      const storage = yield* redisAt(() => server.url)
      assert.isTrue((yield* Health.check(storage, { deadline: "20 seconds" })).healthy)
      yield* Effect.promise(() => server.stop())
      const { error, healthy } = yield* Health.check(storage)
      assert.isFalse(healthy)
      assert.include(["Unavailable", "Deadline"], error?.reason)
    }))
})
