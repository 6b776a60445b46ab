/** A Cluster, and what becomes of circuits when its servers come and go. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result, Stream } from "effect"
import { failures, reading } from "../../src/conformance/Law.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { type Announcement, Storage } from "../../src/Storage/Storage.ts"
import { until } from "../support/servers/processes.ts"
import { RedisCluster } from "../support/servers/redis.ts"
import { conforms } from "./laws.ts"
import { circuit, layerOn } from "./support.ts"

let cluster: RedisCluster
beforeAll(async () => {
  cluster = await RedisCluster.start()
})
afterAll(() => cluster.stop())

const options = () => IoRedis.fromUrl(cluster.url)

conforms({ name: "a Cluster of six", client: () => IoRedis.layer(options()) })

describe("the servers of a Cluster", () => {
  const names = Array.from({ length: 60 }, (_, index) => `spread ${index}`)
  const batch = (sequence: number) => names.map((name) => ({ ...reading(name, "a"), sequence, delta: failures(1) }))

  it.live("each hold circuits, are all listed and repaired, and learn the scripts again", () =>
    Effect.gen(function*() {
      const storage = yield* Storage
      const masters = yield* Effect.promise(() => cluster.masters())
      assert.lengthOf(masters, 3)
      for (const sequence of [1, 2, 3]) {
        yield* Effect.promise(() => Promise.all(masters.map((master) => master.cli("script", "flush"))))
        const answers = yield* storage.sync(batch(sequence))
        assert.isTrue(answers.every(({ result }) => Result.isSuccess(result)))
      }
      const keys = yield* Effect.promise(() =>
        Promise.all(masters.map((master) => master.cli("--scan", "--pattern", "circuit_breaker:{spread *}")))
      )
      assert.isTrue(keys.every((key) => key !== ""), "every master has some")
      assert.strictEqual(keys.join("\n").split("\n").length, names.length)
      assert.includeMembers(yield* Stream.runCollect(storage.list), names)
      for (const name of names) {
        yield* Effect.promise(() => cluster.cli("persist", `circuit_breaker:{${name}}`))
      }
      assert.strictEqual(yield* RedisStorage.repairExpiry(), names.length)
    }).pipe(Effect.provide(layerOn(options()))))

  it.live("hand circuits to each other while they are in use", () =>
    Effect.gen(function*() {
      const name = "handed over"
      const it = yield* circuit(name)
      yield* it.report(failures(3))
      const { snapshot: opened } = yield* it.open({ openFor: 3_600_000, maxOpenFor: 3_600_000 })
      let sequence = 0
      let counted = 0
      const using = yield* Effect.gen(function*() {
        const answer = yield* Effect.result(
          it.send({ instance: "user", sequence: ++sequence, generation: opened.generation, delta: failures(1) })
        )
        if (Result.isSuccess(answer)) {
          counted++
          assert.strictEqual(answer.success.snapshot.generation, opened.generation)
        } else {
          assert.deepInclude(answer.failure, { _tag: "StorageError", reason: "Unavailable" })
        }
        yield* Effect.sleep("5 millis")
      }).pipe(Effect.forever, Effect.forkChild)
      for (let times = 0; times < 3; times++) {
        yield* Effect.promise(() => cluster.move(`circuit_breaker:{${name}}`))
        const before = counted
        yield* Effect.sleep("500 millis")
        assert.isAbove(counted, before)
      }
      yield* Fiber.interrupt(using)
      const { lifetime, state } = yield* it.read
      assert.strictEqual(state._tag, "Open")
      assert.isAtLeast(lifetime.failure, 3 + counted)
      assert.isAtMost(lifetime.failure, 3 + sequence)
    }).pipe(Effect.provide(layerOn(options()))))

  it.live("may refuse what goes before a command on a slot that moves, and end nobody's process with it", () =>
    Effect.gen(function*() {
      const name = "refused"
      const it = yield* circuit(name)
      yield* it.report(failures(3))
      const allow = (rule: string) =>
        Effect.promise(() => Promise.all(cluster.nodes.map((node) => node.cli("acl", "setuser", "default", rule))))
      const using = yield* Effect.result(it.read).pipe(
        Effect.andThen(Effect.sleep("2 millis")),
        Effect.forever,
        Effect.forkChild
      )
      yield* allow("-asking")
      yield* Effect.promise(() =>
        until("it was refused", async () => {
          await cluster.move(`circuit_breaker:{${name}}`)
          const denials = await Promise.all(cluster.nodes.map((node) => node.cli("acl", "log")))
          return denials.some((denial) => denial.includes("asking"))
        })
      )
      yield* allow("+asking")
      yield* Fiber.interrupt(using)
      assert.strictEqual((yield* it.read).lifetime.failure, 3)
    }).pipe(Effect.provide(layerOn(options()))))

  it.live("may die: the others go on, and a replica takes over its circuits", () =>
    Effect.gen(function*() {
      const storage = yield* Storage
      const heard: Array<Announcement> = []
      yield* storage.changes.pipe(
        Stream.runForEach((announcement) => Effect.sync(() => heard.push(announcement))),
        Effect.sandbox,
        Effect.ignore,
        Effect.andThen(Effect.sleep("200 millis")),
        Effect.forever,
        Effect.forkChild
      )
      yield* storage.sync(batch(4))
      const [first] = yield* Effect.promise(() => cluster.masters())
      yield* Effect.sleep("500 millis")
      yield* Effect.promise(() => first!.kill())
      // At first only those of the others can be told.
      const at = yield* Effect.result(storage.sync(batch(5)))
      if (Result.isSuccess(at)) {
        for (const { circuit, result } of at.success) {
          if (Result.isFailure(result)) assert.deepInclude(result.failure, { reason: "Unavailable", circuit })
        }
      }
      let left = names.length
      for (let tries = 0; tries < 200 && left > 0; tries++) {
        yield* Effect.sleep("100 millis")
        const answers = yield* Effect.result(storage.sync(batch(5)))
        left = Result.isSuccess(answers)
          ? answers.success.filter(({ result }) =>
            !Result.isSuccess(result) || result.success.snapshot.lifetime.failure !== 5
          ).length
          : names.length
      }
      assert.strictEqual(left, 0)
      let told = false
      for (let tries = 0; tries < 50 && !told; tries++) {
        const { snapshot: { generation } } = yield* (yield* circuit("told")).operate({ _tag: "Reset" })
        yield* Effect.sleep("200 millis")
        told = heard.some((one) => one._tag === "Changed" && one.generation === generation)
      }
      assert.isTrue(told)
      assert.includeMembers(yield* Stream.runCollect(storage.list), names)
    }).pipe(Effect.provide(layerOn(options()))))
})
