/** Reports on Redis: the running totals of the window, the short way, and the script of the former version on the same keys. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as Redis from "effect/persistence/Redis"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { failures, HOUR, MINUTE } from "../../src/conformance/Law.ts"
import { widthFor } from "../../src/core/Buckets.ts"
import type { Report } from "../../src/core/Report.ts"
import type * as IoRedis from "../../src/layers/IoRedis.ts"
import { KeyNames } from "../../src/redis/KeyNames.ts"
import type { Storage } from "../../src/Storage/Storage.ts"
import { RandomReports } from "../support/reports.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { circuit, layerOn, send } from "./support.ts"

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.stop())

const onServer = <A, E>(effect: Effect.Effect<A, E, Storage | Redis.Redis | IoRedis.IoRedis>) =>
  Effect.provide(effect, layerOn({ host: "127.0.0.1", port: server.port }))

const names = new KeyNames("circuit_breaker:")

/** The script of reports before they had a short way and running totals. */
const former = readFileSync(new URL("./former.lua", import.meta.url), "utf8")

/** Sends a report as a process of that version does. Returns the time of its answer. */
const sendAsFormer = (name: string, { delta, withins, ...rest }: Report) => {
  const input = { ...rest, ...delta, withins, widths: withins.map(widthFor), counts: true, circuit: name }
  const text = JSON.stringify({ ...input, idle: HOUR, channel: "changes", request: "former" })
  const keys = names.of(name)
  const digest = createHash("sha1").update(former).digest("hex")
  return send<ReadonlyArray<string>>("EVALSHA", digest, String(keys.length), ...keys, text).pipe(
    Effect.catch(() => send<ReadonlyArray<string>>("EVAL", former, String(keys.length), ...keys, text)),
    Effect.map((reply) => Number(reply[2]))
  )
}

/** The calls of each command since the last reset. */
const calls = Effect.map(
  send<string>("INFO", "commandstats"),
  (info) =>
    Object.fromEntries([...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, n]) => [name, Number(n)]))
)

const field = (name: string, key: string) => send<string | null>("HGET", names.of(name)[0], key)

const expiryOf = (name: string) =>
  Effect.map(
    Effect.forEach(names.of(name), (key) => send<number>("PEXPIRETIME", key)),
    // -2 is a key that is absent.
    (times) => times.filter((time) => time !== -2)
  )

describe("a report in Redis", () => {
  it.live("processes of two versions on the same Redis keys count as one, whichever writes, and where the window is lost", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("two versions")
      const reports = new RandomReports(4)
      for (let step = 0; step < 400; step++) {
        const report = reports.next()
        const isFormer = reports.random(3) === 0
        const at = isFormer ? yield* sendAsFormer(it.name, report) : (yield* it.send(report)).snapshot.asOf
        reports.answered(report, at)
        if (reports.random(25) === 0) {
          yield* send("DEL", names.of(it.name)[1])
          reports.record = { ...reports.record!, window: [] }
        }
        yield* reports.check(it, step)
      }
    })))

  it.live("a report reads the buckets that it adds to, and not the others of a full window in Redis", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("full")
      const minute = Array.from({ length: 60 }, (_, i) => ({ age: i * 1000, success: 1, failure: 1, slow: 0 }))
      const options = { withins: [MINUTE], generation: 0 }
      yield* it.send({ ...options, sequence: 1, delta: { ...failures(60), buckets: minute.toReversed() } })
      assert.isAtLeast(yield* send<number>("ZCARD", names.of("full")[1]), 59)
      yield* it.send({ ...options, sequence: 2, delta: failures(1) })
      yield* send("CONFIG", "RESETSTAT")
      yield* it.send({ ...options, sequence: 3, delta: failures(1) })
      yield* it.send({ ...options, sequence: 4, delta: failures(1) })
      yield* it.send(options)
      const { zrangebyscore = 0, pexpireat = 0, exists = 0, hrandfield = 0, hmget } = yield* calls
      // A bucket is read by itself, as are those that have left the window since the last report.
      assert.isAtMost(zrangebyscore, 5)
      assert.deepEqual([pexpireat, exists, hrandfield, hmget], [0, 0, 0, 3])
    })))

  it.live("totals that are damaged in Redis, or are those of other buckets, are summed anew", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("totals")
      const options = { withins: [MINUTE, 300_000], generation: 0 }
      const counted = (n: number) => [{ success: 0, failure: n, slow: 0 }, { success: 0, failure: n, slow: 0 }]
      yield* it.send({ ...options, sequence: 1, delta: failures(3) })
      const written = yield* field("totals", "window_totals")
      assert.match(written!, /^=\d{13}\.\d+ 2 60000 \d{13} 0 3 0 0 300000 \d{13} 0 3 0 0$/)
      let sequence = 1
      for (const damage of ["", "x", "1 2 3", written!, written!.replaceAll(" 3 ", " nan "), `${"9".repeat(2000)} 1`]) {
        yield* send("HSET", names.of("totals")[0], "window_totals", damage)
        assert.deepEqual((yield* it.send(options)).snapshot.totals, counted(2 + sequence), damage)
        yield* it.send({ ...options, sequence: ++sequence, delta: failures(1) })
        assert.deepEqual((yield* it.send(options)).snapshot.totals, counted(2 + sequence), damage)
      }
      yield* it.open()
      assert.isNull(yield* field("totals", "window_totals"))
    })))

  it.live("all keys of a circuit in Redis outlive its last report by the idle time, and by little more", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("expiry")
      const update = Effect.map(field("expiry", "updated_at"), Number)
      yield* it.report(failures(1), { withins: [] })
      const others: ReadonlyArray<Effect.Effect<unknown, any, Redis.Redis>> = [
        it.report(failures(1), { withins: [] }),
        // The window begins with this report.
        it.report(failures(1), { withins: [MINUTE] }),
        send("PEXPIRE", names.of("expiry")[0], "1000"),
        it.report(failures(1), { withins: [MINUTE] }),
        Effect.forEach(names.of("expiry"), (key) => send("PERSIST", key)),
        it.report(failures(1), { withins: [MINUTE] })
      ]
      for (const [i, step] of others.entries()) {
        yield* step
        if (i === 2 || i === 4) continue
        const [at, times] = [yield* update, yield* expiryOf("expiry")]
        assert.lengthOf(times, i === 0 ? 2 : 3)
        for (const time of times) {
          assert.isAtLeast(time, at + HOUR, `step ${i}`)
          assert.isAtMost(time, at + 1.125 * HOUR + 1, `step ${i}`)
        }
      }
    })))
})
