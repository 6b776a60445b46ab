/** Errors about what Redis holds name the circuit, the field and the value, whether a script or the client finds it. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as Redis from "effect/persistence/Redis"
import { failures, success } from "../../src/conformance/Law.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { circuit, errorOf, layerOn, send } from "./support.ts"

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.stop())

/** Runs on an empty server. */
const onServer = <A, E>(effect: Effect.Effect<A, E, Storage | Redis.Redis>) =>
  Effect.provide(
    Effect.andThen(send("FLUSHALL"), effect),
    layerOn({ host: "127.0.0.1", port: server.port })
  )

/** Commands that damage a circuit, each with the message of every operation that then reads the damaged field. */
const messages: ReadonlyArray<readonly [command: ReadonlyArray<string>, message: string]> = [
  [["HSET", "failure_count", "many"], `field failure_count of circuit "x" holds "many", expected a number`],
  [["HSET", "updated_at", "0x10"], `field updated_at of circuit "x" holds "0x10", expected a number`],
  [["HDEL", "slow_count"], `field slow_count of circuit "x" holds nothing, expected a `],
  [["HSET", "state", "ajar"], `field state of circuit "x" holds "ajar", expected one of closed, open, half_open`],
  [["HDEL", "state"], `field state of circuit "x" holds nothing, expected one of closed, open, half_open`],
  [["HSET", "state", "open"], `field open_until of circuit "x" holds nothing, expected a number`],
  [["HSET", "override", "maybe"], `field override of circuit "x" holds "maybe", expected one of forced_open, `],
  [["HSET", "why", "{"], `field why of circuit "x" holds "{", expected `],
  [["HSET", "why", "[]"], `field why of circuit "x" holds "[]", expected `]
]

describe("an error about a field of a circuit in Redis", () => {
  for (const [[command, ...args], message] of messages) {
    it.live(`says: ${message}`, () =>
      onServer(Effect.gen(function*() {
        const it = yield* circuit("x")
        yield* it.report(failures(1))
        yield* send(command!, "circuit_breaker:{x}", ...args)
        // Counts, state and `why` are checked by the script before it writes, and by the client when it reads.
        const errors = [yield* errorOf(it.read), yield* errorOf(it.operate({ _tag: "HalfOpen" }))]
        for (const { cause, reason } of errors) {
          assert.strictEqual(reason, "Invalid")
          // The client shows JSON with its quotes escaped.
          assert.include(String(cause).replaceAll("\\\"", "\""), `Redis ${message}`)
        }
      })))
  }

  it.live("cuts a long value, and shows control characters as spaces", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("x")
      yield* it.report(failures(1))
      const value = `a\nb\0${"c".repeat(1000)}`
      yield* send("HSET", "circuit_breaker:{x}", "failure_count", value)
      const ofScript = String((yield* errorOf(it.send({ sequence: 2, delta: failures(1) }))).cause)
      assert.include(ofScript, `holds "a b ${"c".repeat(96)}…", expected a number`)
      const ofClient = String((yield* errorOf(it.read)).cause)
      assert.match(ofClient, /holds "a\\nb\\u0000c{80,96}…, expected a number/)
    })))

  it.live("is Invalid whatever the value is, also one that looks like an error of Redis", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("x")
      yield* it.report(failures(1))
      yield* send("HSET", "circuit_breaker:{x}", "state", "-READONLY You can't write")
      assert.strictEqual((yield* errorOf(it.read)).reason, "Invalid")
    })))
})

describe("an error about what is beside the fields", () => {
  it.live("names the instance whose entry is invalid", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("x")
      yield* it.report(failures(1), { instance: "a" })
      yield* send("HSET", "circuit_breaker:{x}:instances", "report:a", "seven")
      const { cause, reason } = yield* errorOf(it.send({ instance: "a", sequence: 2, delta: failures(1) }))
      assert.strictEqual(reason, "Invalid")
      assert.include(
        String(cause),
        `Redis instance report:a of circuit "x" holds "seven", expected a sequence and a time`
      )
    })))

  it.live("names the row and the field of a history", () =>
    onServer(Effect.gen(function*() {
      const storage = yield* Storage
      const it = yield* circuit("x")
      const key = "circuit_breaker:{x}:history"
      const causeAfter = (row: string) =>
        Effect.andThen(
          Effect.andThen(send("DEL", key), send("LPUSH", key, row)),
          Effect.map(errorOf(storage.history("x")), ({ cause }) => String(cause))
        )
      yield* it.operate({ _tag: "Reset" })
      assert.include(yield* causeAfter("{"), `Redis row of the history of circuit "x" holds "{", expected JSON`)
      assert.include(
        yield* causeAfter(`{"generation":1,"at":2,"from":"ajar","to":"open","why":{"reason":"r"}}`),
        `Redis field from in the history of circuit "x" holds "ajar", expected one of closed, open, half_open`
      )
    })))

  it.live("of a lease that was granted under another type of key keeps the words of Redis", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("x")
      yield* it.operate({ _tag: "HalfOpen" })
      yield* send("SET", "circuit_breaker:{x}:leases", "a text")
      const { cause, reason } = yield* errorOf(it.settle("a", success()))
      assert.strictEqual(reason, "Invalid")
      assert.include(String(cause), "WRONGTYPE")
    })))
})
