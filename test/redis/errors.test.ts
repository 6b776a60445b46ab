/** Errors about what Redis holds name the circuit, the field and the value, whether a script or the client finds it. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Redis from "effect/persistence/Redis"
import { failures, success } from "../../src/conformance/Law.ts"
import { isUnknownScript, storageErrorOf } from "../../src/redis/RedisFailure.ts"
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

describe("the reason of an error of Redis", () => {
  const script = "script: 0fa3, on @user_script:12."
  const before7 = "ERR Error running script (call to f_0fa3): @user_script:12: "
  const words = {
    Invalid: [
      `ERR Redis field state of circuit "x" holds "ajar", expected one of closed, open, half_open ${script}`,
      `Redis field state of circuit "x" holds "-NOPERM", expected one of closed ${script}`,
      `ERR Error running script (call to f_0fa3): Redis instance report:a of circuit "x" holds "seven", expected two`,
      `WRONGTYPE Operation against a key holding the wrong kind of value ${script}`,
      `${before7}WRONGTYPE Operation against a key holding the wrong kind of value`,
      `${before7}-WRONGTYPE Operation against a key holding the wrong kind of value`,
      `ERR user_script:12: attempt to perform arithmetic on field '?' (a boolean value) ${script}`
    ],
    Denied: [
      "NOAUTH Authentication required.",
      "WRONGPASS invalid username-password pair or user is disabled.",
      "WRONGPASS invalid or missing auth token",
      "NOPERM this user has no permissions to run the 'evalsha' command",
      "NOPERM User breaker has no permissions to access one of the keys used as arguments",
      `NOPERM ACL failure in script: User breaker has no permissions to run the 'hset' command ${script}`,
      `${before7}The user executing the script can't run this command or subcommand`,
      `${before7}-NOPERM this user has no permissions to run the 'hset' command`,
      "ERR invalid password",
      "ERR Client sent AUTH, but no password is set",
      "ERR AUTH <password> called without any password configured for the default user.",
      "ERR operation not permitted",
      "ERR unauthorized",
      "ERR Authentication failed",
      "DENIED Redis is running in protected mode because protected mode is enabled"
    ],
    Unavailable: [
      "READONLY You can't write against a read only replica.",
      "ERR READONLY You can't write against a read only replica.",
      ...[
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Redis is configured to save RDB snapshots"
      ]
        .flatMap((text) => [text, `${before7}-${text}`, `${before7}${text}`]),
      ...["READONLY", "NOREPLICAS", "LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN"].map((word) =>
        `${before7}-${word} no`
      ),
      "ERR upstream failure",
      "ERR server overloaded",
      "ERR unknown command 'EVALSHA'",
      "ERR unknown command `EVALSHA`, with args beginning with: `password`",
      "ERR max number of clients reached",
      "ERR max daily request limit exceeded",
      "CROSSSLOT Keys in request don't hash to the same slot",
      "MOVED 1 10.0.0.1:6379",
      "TRYAGAIN Multiple keys request during rehashing of slot",
      "ERR something that no server has said before",
      "WHATEVER it says",
      "Kaputt",
      "",
      `ERR no route for {password}`,
      // Of the client or the network.
      "connect ECONNREFUSED 127.0.0.1:6379",
      "connect EACCES /var/run/redis.sock: permission denied",
      "Connection is closed.",
      "Reached the max retries per request limit (which is 0). Refer to \"maxRetriesPerRequest\" option for details."
    ]
  }
  for (const reason of ["Invalid", "Denied", "Unavailable"] as const) {
    for (const message of words[reason]) {
      it(`is ${reason}: ${message} (R6)`, () => {
        const error = storageErrorOf("sync", "x")(new Redis.RedisError({ cause: new Error(message) }))
        assert.deepInclude(error, { reason, operation: "sync", circuit: "x" })
      })
    }
  }

  it("sends the script in full wherever a server says NOSCRIPT, and not where it quotes it (R6)", () => {
    const isUnknown = (message: string) => isUnknownScript(new Redis.RedisError({ cause: new Error(message) }))
    assert.isTrue(isUnknown("NOSCRIPT No matching script. Please use EVAL."))
    assert.isTrue(isUnknown("ERR NOSCRIPT No matching script"))
    assert.isFalse(isUnknown("ERR unknown command 'NOSCRIPT'"))
    assert.isFalse(isUnknown(`ERR Redis field state of circuit "x" holds "NOSCRIPT", expected one of closed`))
  })
})
