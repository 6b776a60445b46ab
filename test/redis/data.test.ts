/** The data in Redis: its format, its expiry, damage to it, its cost for the server, and the rights that it needs. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Result, Stream } from "effect"
import * as Redis from "effect/persistence/Redis"
import { Redis as Client } from "ioredis"
import { readFileSync } from "node:fs"
import { failures, FORCED, MINUTE, reading, success } from "../../src/conformance/Law.ts"
import { addCounts, totals } from "../../src/core/Buckets.ts"
import { noDelta } from "../../src/core/Delta.ts"
import type * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { eventually } from "../support/machine.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { circuit, errorOf, layerOn, send } from "./support.ts"

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.stop())

type Needs = Storage | Redis.Redis | IoRedis.IoRedis

const onServer = <A, E>(
  effect: Effect.Effect<A, E, Needs>,
  client: IoRedis.Options = {},
  options?: RedisStorage.Options
) => Effect.provide(effect, layerOn({ host: "127.0.0.1", port: server.port, ...client }, options))

const OPEN_FOR = 2000

const hash = (key: string) =>
  Effect.map(send<ReadonlyArray<string>>("HGETALL", key), (words) => {
    const fields: Record<string, string> = {}
    for (let i = 0; i < words.length; i += 2) fields[words[i]!] = words[i + 1]!
    return fields
  })

describe("a circuit in Redis", () => {
  it.live("a circuit in Redis is a hash with readable fields, and keys for its window, leases, instances and history", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("payments")
      yield* it.report({
        ...failures(5),
        buckets: [{ age: 0, success: 2, failure: 5, slow: 1 }],
        lifetime: {
          success: 2,
          failure: 5,
          ignored: 3,
          timeout: 4,
          slow: 1,
          rejected: 6,
          lastSuccessAge: 50,
          lastSuccessDuration: 12.5,
          lastFailureAge: 0
        }
      })
      const key = "circuit_breaker:{payments}"
      assert.include(yield* hash(key), {
        state: "closed",
        format: "1",
        generation: "0",
        total_requests: "10",
        success_count: "2",
        failure_count: "5",
        ignored_count: "3",
        timeout_count: "4",
        slow_count: "1",
        rejected_count: "6",
        last_success_duration: "12.5",
        consecutive_failures: "5"
      })
      const [bucket, ...others] = yield* send<ReadonlyArray<string>>("ZRANGE", `${key}:window`, "0", "-1")
      assert.match(bucket!, /^\d{10}000 1000 2 5 1$/)
      assert.deepEqual(others, [])

      const { snapshot: { generation } } = yield* it.open()
      const opened = yield* hash(key)
      assert.include(opened, {
        state: "open",
        generation: String(generation),
        consecutive_openings: "1",
        opened_count: "1",
        open_for: "60000",
        consecutive_failures: "0",
        why: "{\"reason\":\"5 consecutive failures\",\"evidence\":{\"failures\":5}}"
      })
      for (const field of ["opened_at", "updated_at", "last_success_time", "last_failure_time", "open_until"]) {
        assert.approximately(Number(opened[field]), Date.now(), 2 * MINUTE, field)
      }
      assert.strictEqual(yield* send("EXISTS", `${key}:window`), 0)

      yield* it.operate({ _tag: "Override", ...FORCED, remaining: MINUTE })
      assert.include(yield* hash(key), {
        override: "forced_open",
        override_reason: FORCED.reason,
        override_actor: FORCED.actor
      })
      yield* it.operate({ _tag: "ClearOverride" })
      yield* it.operate({ _tag: "HalfOpen" })
      yield* it.ask("instance")
      assert.include(yield* hash(key), { state: "half_open", probe_successes: "0" })
      assert.deepEqual(yield* send("ZRANGE", `${key}:leases`, "0", "-1"), ["1:instance"])
      assert.includeMembers(Object.keys(yield* hash(`${key}:instances`)), ["report:a", "ask:instance"])
      yield* it.settle("instance", success())
      const closed = yield* hash(key)
      assert.include(closed, { state: "closed" })
      assert.doesNotHaveAnyKeys(closed, ["open_until", "override", "override_until", "probe_successes"])
      const rows = yield* send<ReadonlyArray<string>>("LRANGE", `${key}:history`, "0", "-1")
      const { from, to, why } = JSON.parse(rows[0]!)
      assert.deepEqual({ from, to, why }, { from: "half_open", to: "closed", why: { reason: "recovered" } })
    })))

  it.live("all Redis keys of a circuit are in one slot, for any name and any prefix", () =>
    Effect.forEach(["circuit_breaker:", "{}", "a{b}:", "*?[x]"], (prefix) =>
      onServer(
        Effect.gen(function*() {
          yield* send("FLUSHALL")
          const storage = yield* Storage
          const names = ["", "}x", "{}", "{", "a\nb", "\0", "%7B", "{%7B}", "é", "e\u0301", "*", ":window", "a:window"]
          for (const [index, name] of names.entries()) {
            const it = yield* circuit(name)
            yield* it.report(failures(index + 1))
            yield* it.operate({ _tag: "HalfOpen" })
            yield* it.ask("a")
          }
          const keys = yield* send<ReadonlyArray<string>>("KEYS", "*")
          const own = keys.filter((key) => key.startsWith(prefix.replaceAll("{", "%7B").replaceAll("}", "%7D") + "{"))
          assert.lengthOf(own, names.length * 4)
          const tags = own.map((key) => /\{(.+?)\}/s.exec(key)?.[1])
          assert.lengthOf([...new Set(tags)], names.length)
          assert.isTrue(own.every((key) => !/[\n\0]/.test(key)), "they can be typed")
          assert.sameMembers(yield* Stream.runCollect(storage.list), names)
          for (const [index, name] of names.entries()) {
            assert.strictEqual((yield* (yield* circuit(name)).read).lifetime.failure, index + 1)
          }
        }),
        {},
        { prefix }
      ), { discard: true }))

  it.live("all Redis keys of a circuit expire together, and none under an override", () =>
    onServer(
      Effect.gen(function*() {
        const it = yield* circuit("short")
        yield* it.report(failures(1))
        yield* it.open({ openFor: OPEN_FOR, maxOpenFor: OPEN_FOR })
        const openedAt = Number((yield* hash("circuit_breaker:{short}"))["opened_at"])
        for (const key of yield* send<ReadonlyArray<string>>("KEYS", "circuit_breaker:{short}*")) {
          // After its open time the circuit is kept for the same time again, because of its backoff.
          assert.approximately((yield* send<number>("PEXPIRETIME", key)) - openedAt, 2 * OPEN_FOR, 1, key)
        }
        yield* it.operate({ _tag: "Override", ...FORCED })
        assert.strictEqual(yield* send("PTTL", "circuit_breaker:{short}"), -1)
        assert.strictEqual(yield* send("PTTL", "circuit_breaker:{short}:history"), -1)
        yield* it.operate({ _tag: "Remove" })
        yield* eventually(
          "all keys of the circuit expire",
          Effect.map(send<ReadonlyArray<string>>("KEYS", "circuit_breaker:{short}*"), (keys) => keys.length === 0)
        )
      }),
      {},
      { idleTimeToLive: "1 second" }
    ))

  it.live("a circuit in Redis keeps no more buckets than its window, and a hundred changes", () =>
    onServer(
      Effect.gen(function*() {
        const it = yield* circuit("bounded")
        const counts = (age: number) => ({ age, success: 1, failure: 0, slow: 0 })
        for (let second = 0; second < 100; second++) {
          yield* it.report({ ...failures(1), buckets: [counts(second * 1000)] }, { withins: [60_000] })
        }
        const buckets = yield* send<number>("ZCARD", "circuit_breaker:{bounded}:window")
        assert.isAtMost(buckets, 60)
        for (let i = 0; i < 110; i++) yield* it.operate({ _tag: "Reset" })
        assert.strictEqual(yield* send("LLEN", "circuit_breaker:{bounded}:history"), 100)
        assert.lengthOf(yield* (yield* Storage).history("bounded", { limit: 1000 }), 100)
      })
    ))

  it.live("a circuit in Redis forgets instances that report no more", () =>
    onServer(
      Effect.gen(function*() {
        const it = yield* circuit("instances")
        // An override keeps the circuit from expiring.
        yield* it.operate({ _tag: "Override", ...FORCED })
        for (let i = 0; i < 50; i++) yield* it.report(failures(1), { instance: `gone ${i}` })
        yield* eventually(
          "the instances that report no more are forgotten",
          Effect.andThen(
            it.report(failures(1), { instance: "here" }),
            Effect.map(
              send<number>("HLEN", "circuit_breaker:{instances}:instances"),
              (instances) => instances < 10
            )
          )
        )
      }),
      {},
      { idleTimeToLive: "1 second" }
    ))

  it.live("Redis counts windows as the core does, for widths below a bucket and several widths side by side", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("widths")
      const withins = [[1000, 300_000], [30_000], [20_000, 3_600_000], [36_000_000], [5000, 60_000]]
      const counts = [0, 900, 4000, 9000, 31_000, 61_000, 400_000, 4_000_000].map((age) => ({
        age,
        success: 1,
        failure: 2,
        slow: 1
      }))
      let window: ReturnType<typeof addCounts> = []
      for (let round = 0; round < 6; round++) {
        for (const each of withins) {
          const { snapshot } = yield* it.report({ ...failures(1), buckets: counts }, { withins: each })
          window = addCounts(window, counts, each, snapshot.asOf)
          assert.deepEqual(snapshot.totals, totals(window, each, snapshot.asOf))
        }
        yield* Effect.sleep(round * 150)
        for (const each of withins) {
          const { snapshot } = yield* it.send({ withins: each })
          assert.deepEqual(snapshot.totals, totals(window, each, snapshot.asOf))
        }
      }
    })))

  it.live("no time is longer than it was on a server whose clock is an hour behind the one that wrote it (R8)", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("set back")
      const key = "circuit_breaker:{set back}"
      /** As if a server whose clock is an hour ahead had written the circuit until now. */
      const written = Effect.gen(function*() {
        for (const field of ["updated_at", "state_since", "open_until", "override_until", "retry_after_until"]) {
          if ((yield* send("HEXISTS", key, field)) === 1) yield* send("HINCRBYFLOAT", key, field, "3600000")
        }
        for (const lease of yield* send<ReadonlyArray<string>>("ZRANGE", `${key}:leases`, "0", "-1")) {
          yield* send("ZINCRBY", `${key}:leases`, "3600000", lease)
        }
      })
      yield* it.open({ openFor: OPEN_FOR, maxOpenFor: OPEN_FOR })
      yield* written
      const { state } = yield* it.read
      assert.isTrue(state._tag === "Open" && state.remaining <= OPEN_FOR)
      assert.isFalse((yield* it.ask("a")).granted)
      yield* eventually(
        "the open time is over by this server's clock",
        Effect.map(it.ask("a", { sequence: 2 }), ({ granted }) => granted)
      )
      yield* written
      const probing = yield* it.read
      assert.isTrue(probing.state._tag === "HalfOpen" && probing.state.nextLapse! <= MINUTE)
      assert.isFalse((yield* it.ask("b")).granted)
      assert.isTrue((yield* it.ask("a", { sequence: 2 })).granted, "the lease that it holds")
      assert.isTrue((yield* it.settle("a", success(), { sequence: 2 })).granted)
      yield* it.report(failures(1, MINUTE))
      yield* written
      assert.isAtMost((yield* it.read).hint, MINUTE)
      yield* it.operate({ _tag: "Override", ...FORCED, remaining: MINUTE })
      yield* written
      yield* it.report(failures(1))
      const { hint, override } = yield* it.read
      assert.isAtMost(override!.remaining!, MINUTE)
      assert.isAtMost(hint, MINUTE)
    })))

  it.live("a circuit that is deleted in Redis leaves nothing to a new circuit of the same name", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("deleted")
      yield* it.report(failures(3), { instance: "a", sequence: 7 })
      yield* it.open()
      yield* it.report(failures(3), { instance: "a", sequence: 8 })
      yield* send("DEL", "circuit_breaker:{deleted}")
      const { snapshot } = yield* it.report(failures(1), { instance: "a", sequence: 1 })
      assert.deepInclude(snapshot, { generation: 0, streak: 1, totals: [{ success: 0, failure: 1, slow: 0 }] })
      assert.deepEqual(yield* (yield* Storage).history("deleted"), [])
    })))
})

describe("a Redis without memory", () => {
  it.live("every write to a Redis without memory is refused and writes nothing, and reads are answered (R3)", () =>
    onServer(Effect.gen(function*() {
      const storage = yield* Storage
      const [known, unknown] = [yield* circuit("known"), yield* circuit("unknown")]
      yield* known.report(failures(1))
      yield* known.operate({ _tag: "HalfOpen" })
      yield* known.ask("first")
      const dump = Effect.forEach(
        ["", ":instances", ":leases", ":history"],
        (key) => send("DUMP", `circuit_breaker:{known}${key}`)
      )
      yield* Effect.acquireUseRelease(
        send("CONFIG", "SET", "maxmemory", "1"),
        () =>
          Effect.gen(function*() {
            const before = yield* dump
            const { generation } = yield* known.read
            const writes: Record<string, Effect.Effect<unknown, any>> = {
              "a report of a circuit that is not stored": unknown.report(failures(1)),
              "a change of a circuit that is not stored": unknown.operate({ _tag: "Override", ...FORCED }),
              "a report": known.send({ sequence: 9, generation, delta: failures(1) }),
              "a probe": known.ask("second", { probes: 5 }),
              "a settlement": known.settle("first", success()),
              "a reset, which drops fields": known.operate({ _tag: "Reset" }),
              "an override": known.operate({ _tag: "Override", ...FORCED }),
              "a removal": known.operate({ _tag: "Remove" })
            }
            for (const [what, write] of Object.entries(writes)) {
              const error = yield* errorOf(write)
              assert.strictEqual(error.reason, "Unavailable", what)
              assert.include(String(error.cause), "OOM", what)
            }
            assert.deepEqual(yield* send("KEYS", "circuit_breaker:{unknown}*"), [])
            assert.deepEqual(yield* dump, before)
            assert.strictEqual((yield* known.read).lifetime.failure, 1)
            assert.include(yield* Stream.runCollect(storage.list), "known")
          }),
        () => Effect.orDie(send("CONFIG", "SET", "maxmemory", "0"))
      )
    })))
})

describe("a key that is lost alone", () => {
  const key = (name: string) => `circuit_breaker:{${name}}`

  it.live("a report that is repeated after its instances were lost is no evidence twice (R9)", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("no instances")
      const report = { instance: "a", sequence: 1, delta: { ...failures(3) }, withins: [60_000] }
      yield* it.send(report)
      assert.strictEqual((yield* it.read).streak, 3)
      yield* send("DEL", `${key("no instances")}:instances`)
      const seen = yield* it.send({ withins: [60_000] })
      assert.deepInclude(seen.snapshot, { streak: 0, totals: [{ success: 0, failure: 0, slow: 0 }] })
      const { snapshot } = yield* it.send(report)
      assert.deepInclude(snapshot, { streak: 3, totals: [{ success: 0, failure: 3, slow: 0 }] })
      // The instance is known again, so another repetition counts nothing.
      assert.strictEqual((yield* it.send(report)).snapshot.streak, 3)
    })))

  it.live("lost instances erase no state, no override and no history (R9)", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("kept")
      yield* it.report(failures(5))
      yield* it.open()
      yield* it.operate({ _tag: "Override", ...FORCED })
      yield* send("DEL", `${key("kept")}:instances`)
      const { override, state } = yield* it.read
      assert.deepEqual([state._tag, override?.kind], ["Open", "ForcedOpen"])
      yield* it.report(failures(1))
      assert.lengthOf(yield* (yield* Storage).history("kept"), 2)
    })))

  it.live("a lease that is lost alone keeps its place until its end, and cannot be settled (R9)", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("no leases")
      yield* it.operate({ _tag: "HalfOpen" })
      assert.isTrue((yield* it.ask("a", { duration: 1500 })).granted)
      yield* send("DEL", `${key("no leases")}:leases`)
      assert.deepInclude((yield* it.read).state, { _tag: "HalfOpen", live: 1 })
      assert.isFalse((yield* it.ask("b", { duration: 1500 })).granted)
      assert.isFalse((yield* it.settle("a", success())).granted)
      yield* eventually(
        "the next probe is granted when the lost lease would have ended",
        Effect.map(it.ask("c"), ({ granted }) => granted)
      )
    })))

  it.live("an older version, which does not know what is beside the hash, may go on writing (R9)", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("mixed")
      yield* it.report(failures(2), { instance: "a", sequence: 1 })
      yield* it.operate({ _tag: "HalfOpen" })
      yield* it.ask("a")
      yield* it.report({ ...failures(2) }, { instance: "a", sequence: 2 })
      // The older version drops the lease, and writes the time of its write and not the other field.
      yield* send("DEL", `${key("mixed")}:leases`)
      yield* send("HSET", key("mixed"), "updated_at", String(Date.now()))
      assert.deepInclude((yield* it.read).state, { _tag: "HalfOpen", live: 0 })
      assert.isTrue((yield* it.ask("b")).granted)
      // It writes a circuit without the field.
      yield* send("HDEL", key("mixed"), "companions")
      assert.isTrue((yield* it.settle("b", success())).granted)
    })))
})

describe("a client of one's own", () => {
  it.live("a client with a keyPrefix of its own lists, repairs, tells and announces circuits (R10)", () =>
    Effect.gen(function*() {
      yield* onServer(send("FLUSHALL"))
      const own = Layer.effect(
        Redis.Redis,
        Effect.gen(function*() {
          const connection = () =>
            Effect.acquireRelease(
              Effect.sync(() => new Client({ host: "127.0.0.1", port: server.port, keyPrefix: "app*[1]:" })),
              (client) => Effect.sync(() => client.disconnect())
            )
          const client = yield* connection()
          const failed = (cause: unknown) => new Redis.RedisError({ cause })
          return yield* Redis.make({
            send: <A>(command: string, ...args: ReadonlyArray<string>) =>
              Effect.tryPromise({ try: () => client.call(command, ...args) as Promise<A>, catch: failed }),
            subscribe: (channel, onMessage) =>
              Effect.gen(function*() {
                const subscriber = yield* connection()
                subscriber.on("message", (from, message) => onMessage({ channel: from, message }))
                yield* Effect.tryPromise({ try: () => subscriber.subscribe(channel), catch: failed })
                return Effect.never
              }),
            connect: Effect.never
          })
        })
      )
      const names = ["", "one", "{two}", "three*"]
      yield* Effect.gen(function*() {
        const storage = yield* Storage
        const heard: Array<unknown> = []
        yield* storage.changes.pipe(
          Stream.runForEach((announcement) => Effect.sync(() => heard.push(announcement))),
          Effect.forkScoped({ startImmediately: true })
        )
        yield* eventually("the subscription begins", Effect.sync(() => heard.length > 0))
        for (const name of names) {
          const it = yield* circuit(name)
          yield* it.report(failures(1))
          yield* it.operate({ _tag: "Reset" })
        }
        assert.sameMembers(yield* Stream.runCollect(storage.list), names)
        assert.lengthOf(yield* storage.history("one"), 1)
        yield* Effect.promise(() => server.cli("persist", "app*[1]:circuit_breaker:{one}"))
        assert.strictEqual(yield* RedisStorage.repairExpiry(), 1)
        yield* eventually("every change is announced", Effect.sync(() => heard.length === 1 + names.length))
      }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(RedisStorage.layer(), own)))
      assert.deepEqual(
        yield* Effect.promise(async () =>
          (await server.cli("keys", "*")).split("\n").filter((one) => !one.startsWith("app"))
        ),
        []
      )
      // A program without the prefix has other circuits.
      assert.deepEqual(yield* onServer(Effect.flatMap(Storage, ({ list }) => Stream.runCollect(list))), [])
    }))
})

describe("repairExpiry", () => {
  it.live("repairExpiry gives lost times to live back and counts them, and spares overrides and the keys of others", () =>
    onServer(Effect.gen(function*() {
      yield* send("FLUSHALL")
      const [one, forced, broken] = [yield* circuit("{one}"), yield* circuit("forced"), yield* circuit("broken")]
      yield* one.report(failures(1))
      yield* one.open()
      yield* forced.operate({ _tag: "Override", ...FORCED })
      yield* broken.report(failures(1))
      yield* send("HDEL", "circuit_breaker:{broken}", "state")
      yield* send("SET", "circuit_breaker:{other}:of:somebody", "1")
      yield* send("SET", "unrelated", "1")
      const keys = yield* send<ReadonlyArray<string>>("KEYS", "*")
      yield* Effect.forEach(keys, (key) => send("PERSIST", key))
      assert.strictEqual(yield* RedisStorage.repairExpiry(), 3)
      assert.strictEqual(yield* RedisStorage.repairExpiry(), 0)
      for (const key of ["", ":instances", ":history"]) {
        assert.isAbove(yield* send<number>("PTTL", `circuit_breaker:{%7Bone%7D}${key}`), 3_500_000)
      }
      for (const key of ["circuit_breaker:{forced}", "circuit_breaker:{other}:of:somebody", "unrelated"]) {
        assert.strictEqual(yield* send("PTTL", key), -1, key)
      }
    })))
})

/** The processor time that the server has used. */
const processorMillis = Effect.map(send<string>("INFO", "cpu"), (info) =>
  ["used_cpu_sys", "used_cpu_user"].reduce(
    (sum, field) => sum + 1000 * Number(new RegExp(`^${field}:([\\d.]+)`, "m").exec(info)?.[1]),
    0
  ))

describe("scripts in Redis", () => {
  it.live("scripts are sent again to a Redis that has forgotten them", () =>
    onServer(Effect.gen(function*() {
      const storage = yield* Storage
      const it = yield* circuit("flushed")
      yield* it.report(failures(1))
      const names = Array.from({ length: 100 }, (_, index) => `flushed ${index}`)
      for (let i = 0; i < 3; i++) {
        yield* send("SCRIPT", "FLUSH")
        yield* it.report(failures(1))
        yield* send("SCRIPT", "FLUSH")
        yield* it.operate({ _tag: "HalfOpen" })
        yield* send("SCRIPT", "FLUSH")
        yield* it.ask("a", { sequence: i + 1 })
        yield* send("SCRIPT", "FLUSH")
        const answers = yield* storage.sync(
          names.map((name) => ({ ...reading(name, "a"), sequence: i + 1, delta: failures(1) }))
        )
        assert.isTrue(answers.every(({ result }) => Result.isSuccess(result) && result.success.reported === "Counted"))
      }
      assert.strictEqual((yield* it.read).lifetime.failure, 4)
      assert.strictEqual((yield* (yield* circuit("flushed 99")).read).lifetime.failure, 3)
    })))

  it.live("scripts take Redis less than two milliseconds of its processor each", () =>
    onServer(Effect.gen(function*() {
      const storage = yield* Storage
      const names = Array.from({ length: 100 }, (_, index) => `slow ${index}`)
      const batch = (sequence: number, buckets: number) =>
        storage.sync(names.map((name) => ({
          ...reading(name, "a"),
          sequence,
          withins: [60_000],
          delta: buckets === 0 ? noDelta : {
            ...failures(1),
            buckets: Array.from({ length: buckets }, (_, i) => ({
              age: (buckets - i) * 1000,
              success: 3,
              failure: 1,
              slow: 0
            }))
          }
        })))
      const each = (f: (it: Effect.Success<ReturnType<typeof circuit>>) => Effect.Effect<unknown, any>) =>
        Effect.forEach(names, (name) => Effect.flatMap(circuit(name), f), { concurrency: 100 })
      const work: Record<string, Effect.Effect<unknown, any, Storage>> = {
        "reports of a minute": batch(2, 60),
        "reports": batch(3, 1),
        "reads": batch(4, 0),
        "changes": each((it) => it.operate({ _tag: "HalfOpen" })),
        "leases": each((it) => it.ask("a")),
        "settlements": each((it) => it.settle("a", success())),
        "a history": each((it) => storage.history(it.name)),
        "a list": Effect.repeat(Stream.runDrain(storage.list), { times: 20 })
      }
      yield* batch(1, 60)
      // The slow log has each command of a client, and none that a script runs.
      yield* send("CONFIG", "SET", "slowlog-log-slower-than", "0")
      yield* send("CONFIG", "SET", "slowlog-max-len", "1000")
      for (const [what, effect] of Object.entries(work)) {
        yield* send("SLOWLOG", "RESET")
        const before = yield* processorMillis
        yield* effect
        const used = (yield* processorMillis) - before
        const commands = yield* send<number>("SLOWLOG", "LEN")
        assert.isAtLeast(commands, 20)
        // Processor time, because other processes may delay Redis by the clock.
        assert.isBelow(used / commands, 2, what)
      }
      yield* send("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    })))
})

describe("damage in Redis", () => {
  const wrong = {
    "": ["SET", "a string"],
    ":window": ["SET", "a string"],
    ":leases": ["SET", "a string"],
    ":instances": ["LPUSH", "a list"],
    ":history": ["SET", "a string"]
  } as const
  for (const [suffix, [command, value]] of Object.entries(wrong)) {
    it.live(`a Redis key of the wrong type is an error of its circuit alone: circuit_breaker:{name}${suffix}`, () =>
      onServer(Effect.gen(function*() {
        const storage = yield* Storage
        const name = `wrong${suffix}`
        const [it, good] = [yield* circuit(name), yield* circuit("good")]
        yield* it.operate({ _tag: "HalfOpen" })
        const before = yield* hash(`circuit_breaker:{${name}}`)
        const key = `circuit_breaker:{${name}}${suffix}`
        yield* send("DEL", key)
        yield* send(command, key, value)
        const generation = Number(before["generation"])
        const operations: ReadonlyArray<Effect.Effect<unknown, any>> = [
          it.send({ sequence: 1, generation, delta: failures(1), withins: [30_000] }),
          it.operate({ _tag: "Reset" }),
          storage.probe(name, {
            _tag: "Ask",
            lease: { instance: "b", sequence: 1 },
            generation,
            duration: MINUTE,
            probes: 1
          }),
          storage.history(name)
        ]
        const trouble = yield* Effect.forEach(operations, (operation) => Effect.result(operation))
        const errors = trouble.flatMap((result) => Result.isFailure(result) ? [result.failure] : [])
        assert.isNotEmpty(errors)
        for (const error of errors) {
          assert.deepInclude(error, { _tag: "StorageError", reason: "Invalid", circuit: name })
          assert.include(String(error.cause), "WRONGTYPE")
        }
        // An operation that failed has written nothing.
        if (suffix !== "" && Result.isFailure(trouble[1]!)) {
          assert.deepEqual(
            (yield* hash(`circuit_breaker:{${name}}`))["generation"],
            before["generation"],
            "the reset that failed"
          )
        }
        const [bad, fine] = yield* storage.sync([
          { ...reading(name, "a"), sequence: 9, generation, delta: failures(1) },
          { ...reading("good", "a"), sequence: Date.now(), delta: failures(1) }
        ])
        assert.isTrue(Result.isSuccess(fine!.result))
        assert.isTrue(Result.isFailure(bad!.result) || suffix === ":leases" || suffix === ":history")
        yield* good.read
        yield* send("DEL", key)
        yield* it.operate({ _tag: "Reset" })
      })))
  }

  it.live("a megabyte in a field of a circuit is Invalid, and ignored in a field that is not the circuit's", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("large")
      yield* it.report(failures(1))
      const megabyte = "x".repeat(2 ** 20)
      yield* send("HSET", "circuit_breaker:{large}", "note", megabyte)
      assert.strictEqual((yield* it.read).lifetime.failure, 1)
      yield* send("HSET", "circuit_breaker:{large}", "fingerprint", megabyte)
      assert.deepInclude(yield* errorOf(it.read), { reason: "Invalid", operation: "sync", circuit: "large" })
      assert.deepInclude(yield* errorOf(it.operate({ _tag: "Reset" })), { reason: "Invalid", operation: "change" })
      yield* send("HDEL", "circuit_breaker:{large}", "fingerprint")
      const refused = yield* errorOf(it.operate({ _tag: "Override", ...FORCED, reason: megabyte }))
      assert.deepInclude(refused, { reason: "Invalid", operation: "change", circuit: "large" })
      assert.strictEqual((yield* it.read).override, undefined)
    })))

  const damage: Record<string, ReadonlyArray<string>> = {
    "a count that is none": ["HSET", "failure_count", "many"],
    "a count beyond all numbers": ["HSET", "failure_count", "1e999"],
    "a hexadecimal time": ["HSET", "updated_at", "0x10"],
    "a state of nobody": ["HSET", "state", "ajar"],
    "an override of nobody": ["HSET", "override", "maybe"],
    "a reason that is no JSON": ["HSET", "why", "{"],
    "a reason without one": ["HSET", "why", "[]"],
    "a missing count": ["HDEL", "slow_count"],
    "an Open without an end": ["HSET", "state", "open"]
  }
  for (const [what, [command, ...args]] of Object.entries(damage)) {
    it.live(`${what} in Redis is Invalid, and no absent circuit`, () =>
      onServer(Effect.gen(function*() {
        const it = yield* circuit(what)
        yield* it.report(failures(1))
        yield* send(command!, `circuit_breaker:{${what}}`, ...args)
        const before = yield* hash(`circuit_breaker:{${what}}`)
        const report = it.send({ sequence: 2, delta: failures(1) })
        const probe = it.probe({
          _tag: "Settle",
          lease: { instance: "a", sequence: 1 },
          generation: 0,
          outcome: success()
        })
        const operations: ReadonlyArray<Effect.Effect<unknown, any>> = [
          it.read,
          report,
          probe,
          it.operate({ _tag: "ClearOverride" }),
          it.operate({ _tag: "HalfOpen" })
        ]
        for (const operation of operations) {
          assert.deepInclude(yield* errorOf(operation), { reason: "Invalid", circuit: what })
        }
        assert.deepEqual(yield* hash(`circuit_breaker:{${what}}`), before)
      })))
  }

  it.live("messages of others on the Redis channel are ignored", () =>
    onServer(
      Effect.gen(function*() {
        const storage = yield* Storage
        const heard: Array<unknown> = []
        yield* storage.changes.pipe(
          Stream.runForEach((announcement) => Effect.sync(() => heard.push(announcement))),
          Effect.forkScoped({ startImmediately: true })
        )
        yield* eventually("the subscription begins", Effect.sync(() => heard.length > 0))
        const messages = ["", "{", "null", "[]", "1", "{\"circuit\":1,\"generation\":\"1\"}", "{\"circuit\":\"a\"}"]
        for (const message of messages) yield* send("PUBLISH", "circuit_breaker:changes", message)
        const { snapshot: { generation } } = yield* (yield* circuit("heard")).operate({ _tag: "Reset" })
        yield* eventually("the change is announced", Effect.sync(() => heard.length >= 2))
        assert.deepEqual(heard, [{ _tag: "Subscribed" }, { _tag: "Changed", circuit: "heard", generation }])
      }).pipe(Effect.scoped)
    ))

  /** What follows the name of the request, or no list at all. */
  const replies: Record<string, unknown> = {
    "nothing": null,
    "a number": 7,
    "a word": "OK",
    "an empty list": [],
    "half of it": ["Counted", "1732188600000"],
    "another word": ["Sure", "1732188600000", [], [], ["0", "0", "0"]],
    "a time that is none": ["Counted", "soon", [], [], ["0", "0", "0"]],
    "too few fields": ["Counted", "1732188600000", ["closed"], [], ["0", "0", "0"]],
    "too few totals": ["Counted", "1732188600000", [], [], []]
  }
  it.live("an unexpected reply of Redis is Invalid", () =>
    Effect.forEach(Object.entries(replies), ([what, reply]) =>
      Effect.gen(function*() {
        const storage = yield* Storage
        const it = yield* circuit("odd")
        const operations: ReadonlyArray<Effect.Effect<unknown, any>> = [
          it.read,
          it.operate({ _tag: "Reset" }),
          it.ask("a"),
          storage.history("odd")
        ]
        for (const operation of operations) {
          const error = yield* errorOf(operation)
          assert.deepInclude(error, { reason: "Invalid", circuit: "odd" }, what)
        }
        assert.deepInclude(
          yield* errorOf(Stream.runDrain(storage.list)),
          { reason: "Invalid", operation: "list" },
          what
        )
      }).pipe(
        Effect.provide(Layer.provide(
          RedisStorage.layer(),
          Layer.mock(Redis.Redis)({
            send: (command: string, ...args: ReadonlyArray<string>) =>
              Effect.succeed(
                (Array.isArray(reply) && command !== "SCAN"
                  ? [JSON.parse(args.at(-1)!).request, ...reply]
                  : reply) as any
              ),
            eval: () => () => Effect.die("not used")
          })
        ))
      ), { discard: true }))
})

describe("rights in Redis", () => {
  it.live("a Redis user with the documented rights can do everything, and nothing under another prefix", () =>
    Effect.gen(function*() {
      const docs = readFileSync("src/Storage/Redis.ts", "utf8").replaceAll("\n * ", " ")
      const rules = /``` (~circuit_breaker.+?) ```/.exec(docs)?.[1] ?? assert.fail("the docs name no rights")
      yield* onServer(send("ACL", "SETUSER", "breaker", "on", ">secret", ...rules.split(" ")))
      const client = { username: "breaker", password: Redacted.make("secret") }
      yield* onServer(
        Effect.gen(function*() {
          const storage = yield* Storage
          const it = yield* circuit("limited")
          const heard: Array<unknown> = []
          yield* storage.changes.pipe(
            Stream.runForEach((announcement) => Effect.sync(() => heard.push(announcement))),
            Effect.forkScoped({ startImmediately: true })
          )
          yield* eventually("the subscription begins", Effect.sync(() => heard.length > 0))
          yield* it.report(failures(1))
          yield* it.open()
          yield* it.operate({ _tag: "Override", ...FORCED })
          yield* it.operate({ _tag: "ClearOverride" })
          yield* it.operate({ _tag: "HalfOpen" })
          yield* it.ask("a")
          yield* it.settle("a", success())
          yield* it.operate({ _tag: "Remove" })
          assert.isNotEmpty(yield* storage.history("limited"))
          assert.include(yield* Stream.runCollect(storage.list), "limited")
          yield* RedisStorage.repairExpiry()
          yield* eventually("every change is announced", Effect.sync(() => heard.length >= 7))
        }).pipe(Effect.scoped),
        client
      )
      yield* onServer(
        Effect.gen(function*() {
          const error = yield* errorOf((yield* circuit("else")).read)
          assert.deepInclude(error, { reason: "Denied", operation: "sync", circuit: "else" })
        }),
        client,
        { prefix: "elsewhere:" }
      )
    }))
})
