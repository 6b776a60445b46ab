/** Migrations from files to Redis, and from Redis to Postgres, phase by phase, under constant calls. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Scope, Stream, SubscriptionRef } from "effect"
import { rm } from "node:fs/promises"
import { circuitOf, failures, FORCED, HOUR } from "../../../src/conformance/Law.ts"
import { Breaker, Storage } from "../../../src/index.ts"
import * as FileStorageLive from "../../../src/layers/FileStorageLive.ts"
import * as IoRedis from "../../../src/layers/IoRedis.ts"
import * as Postgres from "../../../src/layers/Postgres.ts"
import * as Migration from "../../../src/Storage/Migration.ts"
import * as RedisStorage from "../../../src/Storage/Redis.ts"
import * as SqlStorage from "../../../src/Storage/Sql.ts"
import { eventually } from "../../support/machine.ts"
import { temporaryDirectory } from "../../support/servers/processes.ts"
import { serverUrl } from "../../support/servers/shared.ts"

const PHASES = ["read-both-write-both", "read-new-write-both", "read-new-write-new"] as const

const QUIET = Array.from({ length: 120 }, (_, i) => `quiet ${i}`)

const policy = {
  trip: { _tag: "ConsecutiveFailures", failures: 3 },
  openFor: "1 hour",
  evidence: "any",
  syncEvery: "200 millis"
} as const

type StorageLayer = Layer.Layer<Storage.Storage>

const storageOf = (layer: StorageLayer) => Effect.map(Layer.build(Layer.fresh(layer)), Context.get(Storage.Storage))

/** An instance that makes calls without a pause once `begin` has run. */
const processOn = (name: string, from: StorageLayer, to: StorageLayer) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(Layer.fresh(Migration.layer({ name, from, to })), scope)
    const made = (name: string) => Breaker.make(name, policy).pipe(Effect.provideContext(context), Scope.provide(scope))
    const [good, bad] = [yield* made("good"), yield* made("bad")]
    const calls = { good: 0, refused: 0, others: [] as Array<string> }
    const round = Effect.gen(function*() {
      const exits = [yield* Effect.exit(good.wrap(Effect.void)), yield* Effect.exit(bad.wrap(Effect.fail("down")))]
      if (Exit.isSuccess(exits[0]!)) calls.good++
      else calls.others.push(String(exits[0]!.cause))
      if (Exit.isFailure(exits[1]!) && String(exits[1]!.cause).includes("BreakerOpenError")) calls.refused++
      else calls.others.push(String(exits[1]!))
      yield* Effect.sleep("2 millis")
    })
    return {
      bad,
      calls,
      migration: Context.get(context, Migration.Migration),
      begin: Effect.forkIn(Effect.forever(round), scope),
      stop: Scope.close(scope, Exit.void)
    }
  })

/** Switches through all phases on the first of three instances, while all of them make calls. */
const migrate = (name: string, from: StorageLayer, to: StorageLayer) =>
  Effect.gen(function*() {
    const processes = yield* Effect.forEach([0, 1, 2], () => processOn(name, from, to))
    const [{ migration }] = processes as [typeof processes[number]]
    for (const { bad } of processes) {
      // The first call loads the circuit.
      yield* eventually(
        "the circuit is open",
        Effect.andThen(
          Effect.exit(bad.wrap(Effect.fail("down"))),
          Effect.map(bad.state, (state) => state === "Open")
        )
      )
    }
    yield* Effect.forEach(processes, ({ begin }) => begin)
    // The first report creates the record.
    const source = yield* storageOf(from)
    yield* eventually(
      "the circuit of the successes is in the old storage",
      Effect.map(Stream.runCollect(source.list), (names) => names.includes("good"))
    )
    const progress = yield* Stream.runCollect(migration.backfill)
    assert.isAtLeast(progress.at(-1)!.circuits, QUIET.length + 2)
    assert.deepStrictEqual(progress.at(-1)!.failed, [])
    for (const phase of PHASES) {
      yield* migration.switchTo(phase)
      for (const { calls, migration } of processes) {
        yield* eventually(
          `all instances are in ${phase}`,
          Effect.map(SubscriptionRef.get(migration.phase), (known) => known === phase)
        )
        const before = calls.good
        yield* eventually("calls go on", Effect.sync(() => calls.good > before + 50))
      }
      const { differences } = yield* migration.compare
      const others = differences.filter(({ circuit, what }) =>
        circuit !== "good" && circuit !== "bad" && (phase !== "read-new-write-new" || what.length > 0)
      )
      assert.deepStrictEqual(others.map(({ circuit, what }) => [circuit, what]), [])
    }
    for (const { stop } of processes) yield* stop
    assert.deepStrictEqual(processes.flatMap(({ calls }) => calls.others), [])
    return processes.reduce((sum, { calls }) => sum + calls.good, 0)
  })

describe("a migration under load", () => {
  it.live("a fleet under load migrates from files to Redis to Postgres, and loses no circuit", () =>
    Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.promise(temporaryDirectory),
        (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
      )
      const prefix = `migration_${Math.random().toString(36).slice(2, 10)}_`
      const files = FileStorageLive.layer({ directory })
      const redis = Layer.provide(RedisStorage.layer({ prefix }), IoRedis.layer(IoRedis.fromUrl(serverUrl("redis"))))
      const postgres = Layer.provide(
        SqlStorage.layer({ prefix, deadline: "10 minutes" }),
        Postgres.layer({
          url: Redacted.make(serverUrl("postgres")),
          connectTimeout: "10 minutes",
          statementTimeout: "10 minutes"
        })
      )
      const old = yield* storageOf(files)
      for (const [i, name] of QUIET.entries()) {
        const circuit = circuitOf(old, name)
        yield* circuit.report(failures(i + 1))
        if (i % 3 === 1) yield* circuit.open({ openFor: 10 * HOUR, maxOpenFor: 10 * HOUR })
        if (i % 3 === 2) yield* circuit.operate({ _tag: "Override", ...FORCED })
      }
      yield* circuitOf(old, "bad").open({ openFor: HOUR })

      const calls = [yield* migrate("to-redis", files, redis), yield* migrate("to-postgres", redis, postgres)]

      const [first, last] = [old, yield* storageOf(postgres)]
      for (const [i, name] of QUIET.entries()) {
        const [was, is] = [yield* circuitOf(first, name).read, yield* circuitOf(last, name).read]
        assert.strictEqual(is.generation, was.generation, name)
        assert.strictEqual(is.override?.kind ?? is.state._tag, ["Closed", "Open", "ForcedOpen"][i % 3], name)
        assert.strictEqual(is.lifetime.failure, i + 1, name)
      }
      assert.strictEqual((yield* circuitOf(last, "bad").read).state._tag, "Open")
      const good = yield* circuitOf(last, "good").read
      // No call is missing. Reports in flight while the counts were copied may be counted twice.
      assert.isAtLeast(good.lifetime.success, calls[0]! + calls[1]!)
    }).pipe(Effect.scoped))
})
