/** The health of storages on real servers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Health from "../../src/Storage/Health.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { PATIENT } from "./databases.ts"
import { places, redisAt } from "./places.ts"

describe("Health.check on servers", () => {
  for (const { empty, name } of places) {
    it.live(`Health.check finds ${name} healthy, and lists no record of its own`, () =>
      Effect.gen(function*() {
        const storage = yield* empty
        for (let i = 0; i < 3; i++) {
          const { error, verified } = yield* Health.check(storage, PATIENT)
          assert.deepStrictEqual([error, verified], [undefined, true])
        }
        assert.deepStrictEqual(yield* Stream.runCollect(storage.list), [])
      }))
  }

  it.live("Health.check reports a Redis that has stopped", () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => RedisServer.start()),
        (server) => Effect.promise(() => server.stop())
      )
      const storage = yield* redisAt(() => server.url)
      assert.isTrue((yield* Health.check(storage, PATIENT)).healthy)
      yield* Effect.promise(() => server.stop())
      const { error, healthy } = yield* Health.check(storage)
      assert.isFalse(healthy)
      assert.include(["Unavailable", "Deadline"], error?.reason)
    }))
})
