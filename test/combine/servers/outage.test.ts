/** A chain of Redis, SQLite and no storage under constant calls, while Redis is killed or paused and comes back. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schedule, Scope, Stream } from "effect"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { circuitOf } from "../../../src/conformance/Law.ts"
import { Breaker, Storage } from "../../../src/index.ts"
import * as IoRedis from "../../../src/layers/IoRedis.ts"
import * as SqliteStorageLive from "../../../src/layers/SqliteStorageLive.ts"
import type { ChainEvent } from "../../../src/Storage/Fallback.ts"
import * as RedisStorage from "../../../src/Storage/Redis.ts"
import { eventually, onTimeMillis } from "../../support/machine.ts"
import { temporaryDirectory } from "../../support/servers/processes.ts"
import { RedisServer } from "../../support/servers/redis.ts"

const policy = {
  trip: { _tag: "ConsecutiveFailures", failures: 3 },
  openFor: "10 minutes",
  evidence: "any",
  syncEvery: "200 millis",
  consistency: "local"
} as const

// A strict call waits one second for its storage: time for both deadlines, and some to spare.
const REDIS_MILLIS = 200
const SQLITE_MILLIS = 500
const SPARE_MILLIS = 300

/** A process: a chain, breakers on it, and calls without a pause. */
const processOn = (port: number, file: string) =>
  Effect.gen(function*() {
    const events: Array<ChainEvent> = []
    const layer = Storage.fallback([
      {
        storage: Layer.provide(RedisStorage.layer(), IoRedis.layer({ port })),
        deadline: REDIS_MILLIS
      },
      { storage: SqliteStorageLive.layer({ file }), deadline: SQLITE_MILLIS },
      { storage: Storage.NullStorageLive }
    ], { onEvent: (event) => Effect.sync(() => events.push(event)) })
    const scope = yield* Scope.make()
    const storage = yield* Layer.buildWithScope(layer, scope)
    const made = <const P extends Breaker.Policy>(name: string, policy: P) =>
      Breaker.make(name, policy).pipe(Effect.provideContext(storage), Scope.provide(scope))
    const calls = { good: 0, ended: [] as Array<string>, longest: 0 }
    const timed = <A, E>(call: Effect.Effect<A, E>) =>
      Effect.gen(function*() {
        const [start, onTime] = [performance.now(), onTimeMillis()]
        const exit = yield* Effect.exit(call)
        const took = onTime()
        calls.longest = Math.max(calls.longest, took)
        return { exit, late: performance.now() - start - took }
      })
    const breakers = {
      good: yield* made("good", policy),
      bad: yield* made("bad", policy),
      strict: yield* made("strict", { ...policy, consistency: "strict", onStorageError: "fail" }),
      maintained: yield* made("maintained", policy)
    }
    const hosts = yield* Breaker.makeKeyed("hosts", policy).pipe(Effect.provideContext(storage), Scope.provide(scope))
    const round = Effect.gen(function*() {
      const { exit } = yield* timed(breakers.good.wrap(Effect.succeed("good")))
      if (Exit.isSuccess(exit)) calls.good++
      else calls.ended.push(`good: ${exit.cause}`)
      const strict = yield* timed(breakers.strict.wrap(Effect.succeed("strict")))
      // On a machine that is late by more than the spare time, a strict call may miss its deadline.
      if (Exit.isFailure(strict.exit) && strict.late < SPARE_MILLIS) calls.ended.push(`strict: ${strict.exit.cause}`)
      const host = yield* timed(hosts.wrap(Effect.void, { key: `host ${calls.good % 20}` }))
      if (Exit.isFailure(host.exit)) calls.ended.push(`host: ${host.exit.cause}`)
      yield* Effect.sleep("1 millis")
    })
    let isCalling = true
    const calling = yield* Effect.forkIn(Effect.repeat(round, { while: () => isCalling }), scope)
    return {
      ...breakers,
      calls,
      events,
      refused: (breaker: Breaker.Breaker<Breaker.BreakerError>) =>
        Effect.map(Effect.exit(breaker.wrap(Effect.fail("down"))), (exit) =>
          Exit.isFailure(exit) && String(exit.cause).includes("BreakerOpenError")),
      /** Null lets calls through while both others are skipped. A call makes the process look whether one of them answers. */
      hasHeard: (breaker: Breaker.Breaker<Breaker.BreakerError>) =>
        Effect.andThen(
          Effect.ignore(breaker.wrap(Effect.void)),
          Effect.map(breaker.snapshot, ({ fleet }) =>
            (fleet?.generation ?? 0) > 0)
        ),
      /** Whether the chain has had this event about Redis after its first `after` events. */
      saw: (tag: string, after: number) =>
        Effect.sync(() =>
          events.slice(after).some((event) => event._tag === tag && "backend" in event && event.backend === "redis")
        ),
      stopCalls: Effect.suspend(() => {
        isCalling = false
        return Fiber.join(calling)
      }),
      stop: Scope.close(scope, Exit.void)
    }
  })

const failTwice = (breaker: Breaker.Breaker<Breaker.BreakerError | Storage.StorageError>) =>
  Effect.repeat(Effect.ignore(breaker.wrap(Effect.fail("down"))), { times: 1 })

/** An operator acts again where a late machine made the storages miss their deadlines. */
const act = <A, E>(act: Effect.Effect<A, E>) =>
  Effect.retry(act, { times: 20, schedule: Schedule.spaced(SPARE_MILLIS) })

const outages = {
  "is killed and comes back": {
    begins: (server: RedisServer) => server.kill(),
    ends: (server: RedisServer) => server.restart()
  },
  "is paused and goes on": {
    begins: async (server: RedisServer) => server.pause(),
    // Redis now executes the requests that it was sent during the pause.
    ends: async (server: RedisServer) => server.resume()
  }
}

describe.each(Object.entries(outages))("a chain under load when Redis %s", (what, outage) => {
  it.live(`a chain of Redis and SQLite under load loses no call and no circuit when Redis ${what}`, () =>
    Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.promise(temporaryDirectory),
        (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
      )
      const file = join(directory, "circuits.sqlite")
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => RedisServer.start("--appendonly", "yes", "--appendfsync", "always")),
        (server) => Effect.promise(() => server.stop())
      )
      const layers = {
        redis: Layer.provide(RedisStorage.layer(), IoRedis.layer({ port: server.port })),
        sqlite: SqliteStorageLive.layer({ file })
      }
      const redis = yield* Layer.build(layers.redis)
      const sqlite = yield* Layer.build(layers.sqlite)
      const look = (context: typeof redis, name: string) =>
        Effect.flatMap(Storage.Storage, (storage) => circuitOf(storage, name).read).pipe(Effect.provideContext(context))
      const processes = yield* Effect.forEach([0, 1, 2], () => processOn(server.port, file))
      const [one, two] = processes

      yield* failTwice(one!.bad)
      yield* Effect.ignore(one!.bad.wrap(Effect.fail("down")))
      yield* act(one!.maintained.override({ mode: "ForcedOpen", reason: "works", actor: "ann" }))
      for (const process of processes) yield* eventually("bad is open for all", process.refused(process.bad))
      yield* eventually(
        "the changes are copied to SQLite",
        Effect.gen(function*() {
          const [bad, maintained] = [yield* look(sqlite, "bad"), yield* look(sqlite, "maintained")]
          return bad.state._tag === "Open" && maintained.override?.kind === "ForcedOpen"
        })
      )

      const told = processes.map(({ events }) => events.length)
      yield* Effect.promise(() => outage.begins(server))
      for (const [i, process] of processes.entries()) {
        yield* eventually("the chain leaves Redis alone", process.saw("Down", told[i]!))
      }
      const before = processes.map(({ calls }) => calls.good)
      for (const process of processes) {
        yield* eventually("another storage than null has answered", process.hasHeard(process.bad))
        assert.isTrue(yield* process.refused(process.bad))
      }
      yield* act(two!.maintained.clearOverride({ actor: "ann" }))
      yield* eventually(
        "another process knows that the override is cleared",
        Effect.map(one!.maintained.wrap(Effect.succeed(true)), (isThrough) => isThrough)
      )
      const late = yield* processOn(server.port, file)
      yield* eventually("a process that starts now knows of the open circuit", late.refused(late.bad))
      yield* failTwice(late.strict)
      yield* eventually(
        "calls go on",
        Effect.sync(() => processes.every(({ calls }, i) => calls.good > before[i]! + 200))
      )

      const all = [...processes, late]
      const toldSince = all.map(({ events }) => events.length)
      yield* Effect.promise(() => outage.ends(server))
      for (const [i, process] of all.entries()) {
        yield* eventually("the chain uses Redis again", process.saw("Up", toldSince[i]!))
      }
      yield* eventually(
        "Redis and SQLite have come to the same",
        Effect.gen(function*() {
          for (const name of ["bad", "maintained"]) {
            const [theirs, ours] = [yield* look(redis, name), yield* look(sqlite, name)]
            if (theirs.generation !== ours.generation || theirs.override !== undefined) return false
          }
          return true
        })
      )
      assert.strictEqual((yield* look(redis, "bad")).state._tag, "Open")
      for (const process of all) {
        yield* eventually("another storage than null has answered", process.hasHeard(process.bad))
        assert.isTrue(
          yield* process.refused(process.bad),
          `a call got through: ${JSON.stringify(process.events.slice(-20))}`
        )
        yield* process.stopCalls
      }
      // Redis counts every call once, whether Redis left its report without an answer, SQLite counted it, or neither.
      const made = all.reduce((sum, { calls }) => sum + calls.good, 0)
      yield* eventually(
        "every call is counted in Redis",
        Effect.map(look(redis, "good"), ({ lifetime }) => lifetime.success >= made)
      )
      for (const process of all) yield* process.stop
      assert.strictEqual((yield* look(redis, "good")).lifetime.success, made)

      for (const { calls } of all) {
        assert.deepStrictEqual(calls.ended, [])
        // A call may wait for 100 ms, and a strict one for two round trips.
        assert.isBelow(calls.longest, 5000)
      }
      for (const { events } of processes) {
        const tags = events.map((event) => event._tag)
        assert.includeMembers(tags, ["Fallback", "Down", "Up"])
        assert.isTrue(
          events.some((event) => event._tag === "Fallback" && event.from === "redis" && event.to === "sqlite")
        )
      }
      const names = yield* Effect.flatMap(Storage.Storage, ({ list }) => Stream.runCollect(list)).pipe(
        Effect.provideContext(redis)
      )
      assert.includeMembers(names, [
        "bad",
        "good",
        "maintained",
        ...Array.from({ length: 20 }, (_, i) => `hosts/host ${i}`)
      ])
    }).pipe(Effect.scoped))
})
