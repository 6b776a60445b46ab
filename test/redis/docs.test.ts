/** Checks `docs/redis.md`: its commands print the shown output, its tables are complete, and its rights are enough. */
import { NodeRedis } from "@effect/platform-node"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Stream } from "effect"
import type * as Redis from "effect/persistence/Redis"
import { readFileSync } from "node:fs"
import { mkdir, rm, writeFile } from "node:fs/promises"
import { delimiter, join } from "node:path"
import { failures, FORCED, IGNORED, MINUTE, secondFailure, success } from "../../src/conformance/Law.ts"
import { Breaker, Trip } from "../../src/index.ts"
import type * as IoRedis from "../../src/layers/IoRedis.ts"
import { FIELDS } from "../../src/redis/Fields.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { root } from "../support/docs.ts"
import * as Machine from "../support/machine.ts"
import { run, temporaryDirectory } from "../support/servers/processes.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { failTimes } from "../utils.ts"
import { circuit, layerOn, send } from "./support.ts"

const page = readFileSync(join(root, "docs/redis.md"), "utf8")

interface Commands {
  readonly line: number
  readonly where: string
  readonly code: string
  /** The output in the `text` fence right behind the commands. */
  readonly shown: string | undefined
}

const commands: ReadonlyArray<Commands> = [
  ...page.matchAll(/^```sh redis-cli( cluster)?\n(.*?)^```\n(?:\n```text\n(.*?)^```)?/gms)
].map(([, where = "", code, shown]) => ({
  where: where.trim(),
  line: page.slice(0, page.indexOf(code!)).split("\n").length,
  code: code!,
  shown
}))

const rights = commands.find(({ code }) => code.includes("acl setuser"))!

/** The words in the first column of the table whose first column has this title. */
const rows = (title: string): Array<string> => {
  const [, table] = new RegExp(`^\\| ${title} .*\\n\\|[- |]+\\n((?:\\|.*\\n)+)`, "m").exec(page) ?? []
  return [...table!.matchAll(/^\| `([^`]+)`/gm)].map(([, word]) => word!)
}

let server: RedisServer
let node: RedisServer
let directory: string
beforeAll(async () => {
  directory = await temporaryDirectory()
  server = await RedisServer.start()
  // A Cluster of one node.
  node = await RedisServer.start("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")
  await node.cli("cluster", "addslotsrange", "0", "16383")
  await Machine.until("the Cluster is ready", async () => /cluster_state:ok/.test(await node.cli("cluster", "info")))
})
afterAll(async () => {
  await Promise.all([server.stop(), node.stop()])
  await rm(directory, { recursive: true, force: true })
})

const password = "correct horse battery staple"

/** Runs commands exactly as the page has them, with a `redis-cli` in the path that connects to the right server. */
const shell = async ({ code, where }: Pick<Commands, "code" | "where">): Promise<string> => {
  const { port } = where === "cluster" ? node : server
  const bin = join(directory, String(port))
  const path = process.env["PATH"] ?? ""
  await mkdir(bin, { recursive: true })
  await writeFile(
    join(bin, "redis-cli"),
    `#!/bin/sh\nPATH='${path.replaceAll("'", String.raw`'\''`)}' exec redis-cli -p ${port} "$@"\n`,
    { mode: 0o755 }
  )
  const env = { ...process.env, PATH: `${bin}${delimiter}${path}`, LC_ALL: "C", BREAKER_PASSWORD: password }
  const { stderr, stdout } = await run("sh", ["-euc", code], { env })
  assert.strictEqual(stderr, "")
  assert.notMatch(stdout, /^\(error\)|^(?:ERR|NOPERM|WRONGTYPE) /m)
  return stdout
}

/** Replaces the values that differ in every run: times, generations, durations, ids, message numbers, fingerprints. */
const alike = (text: string): string =>
  text
    .replaceAll(/(?<=companions\t).+/g, "companions")
    .replaceAll(/(?<=duration\t)[\d.]+/g, "duration")
    .replaceAll(/\b\d{13,}(?:\.\d+)?\b/g, "time")
    .replaceAll(/\b[a-z\d]{20,}\b/g, "id")
    .replaceAll(/(?<=report:id\t)\d+/g, "number")
    .replaceAll(/(?<=fingerprint\t)[\da-f]{16}$/gm, "fingerprint")

type Needs = Storage | Redis.Redis | IoRedis.IoRedis

const onServer = <A, E>(effect: Effect.Effect<A, E, Needs>, client: IoRedis.Options = {}) =>
  Effect.provide(effect, layerOn({ host: "127.0.0.1", port: server.port, ...client }))

const until = (event: string, isSo: () => Promise<boolean>) => Machine.eventually(event, Effect.promise(isSo))

/** Creates the circuits of the page, and closes the breakers that did it. */
const circuits = Effect.scoped(Effect.gen(function*() {
  const slow = Trip.slowCallRate({ threshold: 0.5, slowerThan: "2 seconds", within: "30 seconds" })
  const trip = Trip.any(Trip.consecutiveFailures(5), slow)
  const payments = yield* Breaker.make("payments", { trip, openFor: "10 minutes" })
  yield* Effect.forEach(Array.from({ length: 120 }), () => payments.wrap(Effect.void))
  yield* failTimes(payments, 5)
  const search = yield* Breaker.make("search", {})
  yield* search.override({ mode: "ForcedOpen", reason: "incident 42", actor: "ann" })
  const http = yield* Breaker.makeKeyed("http", { trip: Trip.failureRate({ threshold: 0.5, within: "30 seconds" }) })
  yield* Effect.ignore(http.wrap(Effect.fail("no"), { key: "api.example.com" }))
  const odd = yield* Breaker.make("a{b}\n*", {})
  yield* failTimes(odd, 1)
  const key = "circuit_breaker:{payments}"
  yield* until("the fleet's circuit is open", async () => await server.cli("hget", key, "state") === "open")
}))

describe("docs/redis.md", () => {
  it.live("docs/redis.md shows what its commands print, in their order, with those of a rollback (R13)", () =>
    Effect.gen(function*() {
      yield* onServer(circuits)
      yield* Effect.provide(
        Effect.flatMap(circuit("payments"), (it) => it.report(failures(1))),
        layerOn({ cluster: [{ host: "127.0.0.1", port: node.port }], connectTimeout: "1 minute" })
      )
      assert.isAbove(commands.length, 10)
      for (const fence of commands) {
        // A circuit that only a newer version may write, for the commands that delete such.
        if (fence.code.includes("-gt 1")) {
          yield* Effect.promise(() => server.cli("hset", "circuit_breaker:{newer}", "format", "2", "state", "open"))
        }
        const printed = yield* Effect.promise(() => shell(fence))
        const at = `docs/redis.md:${fence.line}`
        assert.notStrictEqual(printed, "", at)
        if (fence.shown !== undefined) assert.strictEqual(alike(printed), alike(fence.shown), at)
        if (fence.where === "cluster") assert.strictEqual(printed, "closed\ncircuit_breaker:{payments}\n", at)
      }
      // The page's commands have deleted the circuits that they name, and no others.
      const left = yield* Effect.promise(() => server.cli("--scan", "--pattern", "circuit_breaker:{*}"))
      assert.sameMembers(left.split("\n"), ["circuit_breaker:{a%7Bb%7D%0A*}", "circuit_breaker:{payments}"])
      assert.strictEqual(yield* Effect.promise(() => server.cli("exists", "circuit_breaker:{search}:history")), "0")
    }))

  it.live("docs/redis.md lists all keys and fields of a circuit, and no others", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("payments")
      yield* it.operate({ _tag: "Remove" })
      const key = "circuit_breaker:{payments}"
      const fields = new Set<string>()
      const keys = new Set<string>()
      const look = Effect.gen(function*() {
        for (const field of yield* send<ReadonlyArray<string>>("HKEYS", key)) fields.add(field)
        for (const one of yield* send<ReadonlyArray<string>>("KEYS", `${key}*`)) keys.add(one)
      })
      const calls = failures(5)
      const lasts = { lastSuccessAge: 1, lastSuccessDuration: 2, lastFailureAge: 0, lastFailureDuration: 3 }
      yield* it.report({ ...calls, lifetime: { ...calls.lifetime, success: 1, ...lasts } }, { suspect: MINUTE })
      yield* look
      yield* it.open()
      yield* look
      yield* it.operate({ _tag: "Override", ...FORCED, remaining: MINUTE })
      yield* look
      yield* it.operate({ _tag: "ClearOverride" })
      yield* it.operate({ _tag: "HalfOpen" })
      for (const probe of ["a", "b", "c"]) yield* it.ask(probe, { probes: 3 })
      yield* look
      yield* it.settle("c", secondFailure)
      yield* it.settle("b", { ...IGNORED, hint: MINUTE })
      yield* look
      yield* it.settle("a", success())
      yield* look
      assert.sameMembers(rows("key"), [...keys])
      assert.sameMembers(rows("field"), [...fields])
      assert.sameMembers(rows("field"), [...FIELDS])
    })))

  it.live("as docs/redis.md says, reading does not extend a circuit's time to live, and an endless override ends it", () =>
    onServer(Effect.gen(function*() {
      const it = yield* circuit("stays")
      yield* it.report({ ...failures(1), buckets: [] }, { withins: [] })
      const key = "circuit_breaker:{stays}"
      assert.strictEqual(yield* send("EXISTS", `${key}:window`), 0)
      const before = yield* send<number>("PEXPIRETIME", key)
      yield* Effect.sleep("20 millis")
      yield* it.read
      assert.strictEqual(yield* send("PEXPIRETIME", key), before, "reading extends nothing")
      yield* it.operate({ _tag: "Override", ...FORCED })
      assert.strictEqual(yield* send("TTL", key), -1)
    })))

  it.live("as docs/redis.md says, an Open circuit that is deleted is put back, and a Closed one begins anew", () =>
    onServer(Effect.scoped(Effect.gen(function*() {
      const policy = { trip: Trip.consecutiveFailures(2), openFor: "1 hour", evidence: "any" } as const
      const [open, closed] = [yield* Breaker.make("alive", policy), yield* Breaker.make("unchanged", policy)]
      const state = (name: string) => server.cli("hget", `circuit_breaker:{${name}}`, "state")
      yield* failTimes(open, 2)
      yield* closed.wrap(Effect.void)
      yield* until(
        "both circuits are stored",
        async () => `${await state("alive")} ${await state("unchanged")}` === "open closed"
      )
      const connections = yield* Effect.promise(() => server.cli("client", "list"))
      assert.strictEqual(connections.split("\n").filter((line) => !line.includes("cmd=client")).length, 2)
      for (const name of ["alive", "unchanged"]) {
        yield* Effect.promise(() => server.cli("unlink", `circuit_breaker:{${name}}`))
      }
      yield* until("the Open circuit is put back", async () => await state("alive") === "open")
      const [row] = yield* (yield* Storage).history("alive")
      assert.strictEqual(row?.why.reason, "put back after a loss of data")
      assert.strictEqual(yield* Effect.promise(() => state("unchanged")), "")
      yield* closed.wrap(Effect.void)
      yield* until("the Closed circuit begins anew", async () => await state("unchanged") === "closed")
    }))))

  const operations = (name: string) =>
    Effect.scoped(Effect.gen(function*() {
      const storage = yield* Storage
      const it = yield* circuit(name)
      const heard: Array<unknown> = []
      yield* storage.changes.pipe(
        Stream.runForEach((announcement) => Effect.sync(() => heard.push(announcement))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* until("the subscription begins", async () => heard.length > 0)
      yield* it.report(failures(1))
      yield* it.open()
      yield* it.operate({ _tag: "Override", ...FORCED })
      yield* it.operate({ _tag: "ClearOverride" })
      yield* it.operate({ _tag: "HalfOpen" })
      yield* it.ask("a")
      yield* it.settle("a", success())
      yield* it.operate({ _tag: "Remove" })
      assert.isNotEmpty(yield* storage.history(name))
      assert.include(yield* Stream.runCollect(storage.list), name)
      yield* RedisStorage.repairExpiry()
      yield* until("every change is announced", async () => heard.length === 7)
    }))

  it.live("docs/redis.md gives a user of Redis all the rights that a storage needs", () =>
    Effect.gen(function*() {
      yield* Effect.promise(() => shell(rights))
      const denied = Effect.promise(() => server.cli("acl", "log"))
      yield* Effect.promise(() => server.cli("acl", "log", "reset"))
      const client = { username: "breaker", password: Redacted.make(password) }
      yield* onServer(operations("limited"), client)
      assert.strictEqual(yield* denied, "")

      const url = `redis://breaker:${encodeURIComponent(password)}@127.0.0.1:${server.port}`
      const byNodeRedis = NodeRedis.layer({ url, disableOfflineQueue: true })
      yield* Effect.provide(operations("by node-redis"), Layer.provideMerge(RedisStorage.layer(), byNodeRedis))

      // A client of a Cluster sends ASKING when a slot is moved, and fails where that is denied.
      for (const command of [["asking"], ["cluster", "slots"], ["cluster", "info"]]) {
        assert.strictEqual(yield* Effect.promise(() => server.cli("acl", "dryrun", "breaker", ...command)), "OK")
      }
      yield* Effect.promise(() => shell({ ...rights, where: "cluster" }))
      const cluster = { ...client, cluster: [{ host: "127.0.0.1", port: node.port }] }
      yield* Effect.provide(operations("in a Cluster"), layerOn(cluster))

      const [, more] = /another database than 0, add `([^`]+)`/.exec(page)!
      yield* Effect.promise(() => server.cli("acl", "setuser", "breaker", more!))
      yield* onServer(operations("elsewhere"), { ...client, database: 3 })
    }))
})
