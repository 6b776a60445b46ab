/** Circuits on a master under Sentinels, before and after another server takes over. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { failures } from "../../src/conformance/Law.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import { type Announcement, Storage } from "../../src/Storage/Storage.ts"
import { CLEANED_REDIS, commandLine } from "../support/commandLine.ts"
import { eventually } from "../support/machine.ts"
import { RedisSentinels } from "../support/servers/redis.ts"
import { conforms } from "./laws.ts"
import { circuit, layerOn } from "./support.ts"

let sentinels: RedisSentinels
beforeAll(async () => {
  sentinels = await RedisSentinels.start()
})
afterAll(() => sentinels.stop())

const options = () => IoRedis.fromUrl(sentinels.url)

describe("the command line, by URL", () => {
  commandLine([{
    name: "a master under Sentinels",
    target: () => Promise.resolve({ url: sentinels.url, prefix: "cli_" }),
    cleaned: CLEANED_REDIS
  }])
})

conforms({ name: "a master under Sentinels", client: () => IoRedis.layer(options()) })

describe("Redis Sentinel", () => {
  const masters = {
    "answers": async () => {},
    "was killed": async () => (await sentinels.master()).kill(),
    "hangs": async () => (await sentinels.master()).pause()
  }
  for (const [state, prepare] of Object.entries(masters)) {
    it.live(`a failover by Sentinels from a master that ${state} loses no circuit and counts nothing twice`, () =>
      Effect.gen(function*() {
        const name = `failover: ${state}`
        const storage = yield* Storage
        const it = yield* circuit(name)
        const heard: Array<Announcement> = []
        const listening = yield* storage.changes.pipe(
          Stream.runForEach((announcement) => Effect.sync(() => heard.push(announcement))),
          Effect.sandbox,
          Effect.ignore,
          Effect.andThen(Effect.sleep("200 millis")),
          Effect.forever,
          Effect.forkChild
        )
        yield* it.report(failures(3), { sequence: 1, instance: "before" })
        const { snapshot: opened } = yield* it.open({ openFor: 3_600_000, maxOpenFor: 3_600_000 })
        const old = yield* Effect.promise(() => sentinels.master())
        yield* Effect.promise(() => old.replicated())

        yield* Effect.promise(prepare)
        const patiently = <A, E>(operation: Effect.Effect<A, E>) =>
          operation.pipe(Effect.delay("50 millis"), Effect.retry({ times: 3000 }))
        // Sent again and again, because a failover may lose a report that the old master has acknowledged.
        const during = patiently(
          it.send({ instance: "during", sequence: 1, generation: opened.generation, delta: failures(2) })
        )
        yield* Effect.raceFirst(
          Effect.promise(() => sentinels.failover()),
          Effect.forever(
            Effect.tap(
              during,
              ({ snapshot: { lifetime } }) => Effect.sync(() => assert.strictEqual(lifetime.failure, 5))
            )
          )
        )
        const key = `circuit_breaker:{${name}}`
        for (let counted = ""; counted !== "5";) {
          const { snapshot: { generation, lifetime, state } } = yield* during
          assert.deepEqual([generation, state._tag, lifetime.failure], [opened.generation, "Open", 5])
          counted = yield* Effect.promise(() => sentinels.cli("hget", key, "failure_count"))
        }
        // A published message may be lost, so the change is repeated.
        yield* eventually(
          "a change is announced again",
          Effect.gen(function*() {
            const { snapshot: { generation } } = yield* patiently(it.operate({ _tag: "Reset" }))
            yield* Effect.sleep("200 millis")
            return heard.some((one) => one._tag === "Changed" && one.generation === generation)
          })
        )
        yield* Fiber.interrupt(listening)
        yield* Effect.promise(async () => {
          old.resume()
          await sentinels.healed()
        })
      }).pipe(Effect.provide(layerOn(options()))))
  }
})

conforms({ name: "a master that has taken over", client: () => IoRedis.layer(options()) })
