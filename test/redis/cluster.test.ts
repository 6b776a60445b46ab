/** Circuits in a Cluster whose slots move and whose masters fail. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Result, Stream } from "effect"
import { failures, reading } from "../../src/conformance/Law.ts"
import { Breaker, Trip } from "../../src/index.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { type Announcement, Storage } from "../../src/Storage/Storage.ts"
import { CLEANED_REDIS, commandLine } from "../support/commandLine.ts"
import { eventually } from "../support/machine.ts"
import { RedisCluster } from "../support/servers/redis.ts"
import { conforms } from "./laws.ts"
import { circuit, errorOf, layerOn } from "./support.ts"

let cluster: RedisCluster
beforeAll(async () => {
  cluster = await RedisCluster.start()
})
afterAll(() => cluster.stop())

const options = () => IoRedis.fromUrl(cluster.url)

describe("the command line, by URL", () => {
  commandLine([{
    name: "a Cluster of six",
    target: () => Promise.resolve({ url: cluster.url, prefix: "cli_" }),
    cleaned: CLEANED_REDIS
  }])
})

conforms({ name: "a Cluster of six", client: () => IoRedis.layer(options()) })

describe("Redis Cluster", () => {
  const names = Array.from({ length: 60 }, (_, index) => `spread ${index}`)
  const batch = (sequence: number) => names.map((name) => ({ ...reading(name, "a"), sequence, delta: failures(1) }))

  it.live("the masters of a Cluster each hold circuits, list and repair them all, and are sent lost scripts again", () =>
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

  it.live("a circuit keeps its generation and loses no count while its slot moves between masters of a Cluster", () =>
    Effect.gen(function*() {
      const name = "handed over"
      const it = yield* circuit(name)
      yield* it.report(failures(3))
      const { snapshot: opened } = yield* it.open({ openFor: 3_600_000, maxOpenFor: 3_600_000 })
      let sent = 0
      let counted = 0
      const using = yield* Effect.gen(function*() {
        const sequence = ++sent
        const answer = yield* Effect.result(
          it.send({ instance: "user", sequence, generation: opened.generation, delta: failures(1) })
        )
        if (Result.isSuccess(answer)) {
          counted++
          assert.strictEqual(answer.success.snapshot.generation, opened.generation)
        } else {
          assert.deepInclude(answer.failure, { _tag: "StorageError", reason: "Unavailable" })
        }
        yield* Effect.sleep("5 millis")
      }).pipe(Effect.forever, Effect.forkChild)
      // Reports are sent while the slot moves, when none, some or all of its keys have arrived at the target.
      for (const keys of [0, 2, 100]) {
        const move = yield* Effect.promise(() => cluster.beginMove(`circuit_breaker:{${name}}`))
        yield* Effect.promise(() => move.moveKeys(keys))
        const before = sent
        yield* eventually("a report is answered or fails during the move", Effect.sync(() => sent > before + 1))
        yield* Effect.promise(() => move.moveKeys())
        yield* Effect.promise(() => move.end())
        const moved = counted
        yield* eventually("reports are counted after the move", Effect.sync(() => counted > moved))
      }
      yield* Fiber.interrupt(using)
      const { lifetime, state } = yield* it.read
      assert.strictEqual(state._tag, "Open")
      assert.isAtLeast(lifetime.failure, 3 + counted)
      assert.isAtMost(lifetime.failure, 3 + sent)
    }).pipe(Effect.provide(layerOn(options()))))

  it.live("a denied ASKING on a slot that moves fails the request, and does not end the process", () =>
    Effect.gen(function*() {
      const name = "refused"
      const it = yield* circuit(name)
      yield* it.report(failures(3))
      const onAll = (...command: ReadonlyArray<string>) =>
        Effect.promise(() => Promise.all(cluster.nodes.map((node) => node.cli(...command))))
      yield* onAll("acl", "log", "reset")
      const move = yield* Effect.promise(() => cluster.beginMove(`circuit_breaker:{${name}}`))
      // The source still owns the slot but none of its keys, so it answers each request with ASK.
      yield* Effect.promise(() => move.moveKeys())
      yield* onAll("acl", "setuser", "default", "-asking")
      assert.strictEqual((yield* errorOf(it.read)).reason, "Unavailable")
      assert.isTrue((yield* onAll("acl", "log")).some((denials) => denials.includes("asking")))
      yield* onAll("acl", "setuser", "default", "+asking")
      yield* Effect.promise(() => move.end())
      assert.strictEqual((yield* it.read).lifetime.failure, 3)
    }).pipe(Effect.provide(layerOn(options()))))

  it.live("while one master hangs, breakers on circuits of the others go on with the fleet (R1)", () =>
    Effect.gen(function*() {
      const storage = yield* Storage
      const mine = Array.from({ length: 12 }, (_, index) => `parted ${index}`)
      yield* storage.sync(mine.map((name) => ({ ...reading(name, "z"), delta: failures(1) })))
      const [hung] = yield* Effect.promise(() => cluster.masters())
      const held = yield* Effect.promise(() => hung!.cli("--scan", "--pattern", "circuit_breaker:{parted *}"))
      const isHeld = (name: string) => held.split("\n").includes(`circuit_breaker:{${name}}`)
      assert.isTrue(mine.some(isHeld) && !mine.every(isHeld), "some are on the master that hangs, and some are not")
      const processes = yield* Effect.forEach([1, 2], () =>
        Effect.gen(function*() {
          const own = yield* Layer.build(Layer.fresh(layerOn(options())))
          return yield* Effect.forEach(mine, (name) =>
            Breaker.make(name, {
              trip: Trip.consecutiveFailures(2),
              evidence: "any",
              openFor: "1 minute",
              syncEvery: "300 millis"
            })
              .pipe(Effect.provide(own)))
        }))
      const [here = [], elsewhere = []] = processes
      yield* Effect.forEach([...here, ...elsewhere], (breaker) => breaker.wrap(Effect.void))
      const using = yield* Effect.forEach(
        [...here, ...elsewhere],
        (breaker) => Effect.ignore(breaker.wrap(Effect.void)),
        {
          concurrency: "unbounded"
        }
      ).pipe(Effect.andThen(Effect.sleep("100 millis")), Effect.forever, Effect.forkChild)
      yield* Effect.acquireUseRelease(
        Effect.sync(() => hung!.pause()),
        () =>
          Effect.gen(function*() {
            const healthy = mine.findIndex((name) => !isHeld(name))
            const lost = mine.findIndex(isHeld)
            yield* eventually(
              "the circuits of the master that hangs are not reachable",
              Effect.map(here[lost]!.snapshot, ({ fleet }) => fleet?.reachable === false)
            )
            for (let look = 0; look < 10; look++) {
              const { fleet } = yield* here[healthy]!.snapshot
              assert.isTrue(fleet?.reachable, "the others are reachable")
              yield* Effect.sleep("100 millis")
            }
            yield* Effect.forEach([1, 2, 3], () => Effect.ignore(here[healthy]!.wrap(Effect.fail("no"))))
            yield* eventually(
              "a trip is known elsewhere",
              Effect.map(elsewhere[healthy]!.state, (state) => state === "Open")
            )
          }),
        () => Effect.sync(() => hung!.resume())
      )
      yield* Fiber.interrupt(using)
      yield* eventually(
        "all circuits are answered again",
        Effect.map(
          storage.sync(mine.map((name) => reading(name, "z"))),
          (answers) => answers.every(({ result }) => Result.isSuccess(result))
        )
      )
    }).pipe(Effect.scoped, Effect.provide(layerOn(options()))))

  it.live("a Cluster that loses a master serves its other circuits, and all of them when the replica has taken over", () =>
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
      yield* eventually("the subscription begins", Effect.sync(() => heard.length > 0))
      yield* storage.sync(batch(4))
      const [first] = yield* Effect.promise(() => cluster.masters())
      const takeOver = yield* Effect.promise(() => cluster.lose(first!))
      // The circuits of the lost master fail, or the whole batch while the client does not yet know of the loss.
      const during = yield* Effect.result(storage.sync(batch(5)))
      if (Result.isSuccess(during)) {
        assert.isTrue(during.success.some(({ result }) => Result.isSuccess(result)))
        const failed = during.success.filter(({ result }) => Result.isFailure(result))
        assert.isNotEmpty(failed)
        for (const { circuit, result } of failed) {
          if (Result.isFailure(result)) {
            assert.strictEqual(result.failure.circuit, circuit)
            assert.include(["Unavailable", "Deadline"], result.failure.reason)
          }
        }
      } else {
        assert.deepInclude(during.failure, { _tag: "StorageError", reason: "Unavailable" })
      }
      yield* Effect.promise(takeOver)
      yield* eventually(
        "all circuits are counted again",
        Effect.map(
          storage.sync(batch(5)),
          (answers) =>
            answers.every(({ result }) => Result.isSuccess(result) && result.success.snapshot.lifetime.failure === 5)
        )
      )
      const changed = yield* circuit("told")
      yield* eventually(
        "a change is announced again",
        Effect.gen(function*() {
          const { snapshot: { generation } } = yield* changed.operate({ _tag: "Reset" })
          yield* Effect.sleep("200 millis")
          return heard.some((one) => one._tag === "Changed" && one.generation === generation)
        })
      )
      assert.includeMembers(yield* Stream.runCollect(storage.list), names)
    }).pipe(Effect.provide(layerOn(options()))))
})
