/**
 * The cost of the tools: the start-up of `ls` on SQLite beside that of Node, and the processor time of `watch` and of the dashboard
 * while 100 of 10,000 circuits on Redis change each second. Runs on Linux, which tells the processor time of a process.
 */
import { Context, Effect, Layer, Schedule } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { circuitOf, failures } from "../src/conformance/Law.ts"
import * as IoRedis from "../src/layers/IoRedis.ts"
import * as RedisStorageLive from "../src/layers/RedisStorageLive.ts"
import * as SqliteStorageLive from "../src/layers/SqliteStorageLive.ts"
import { Storage } from "../src/Storage/Storage.ts"
import { temporaryDirectory } from "../test/support/servers/processes.ts"
import { RedisServer } from "../test/support/servers/redis.ts"
import { BIN, Pty, spawnCli } from "../test/support/terminal.ts"

const STARTS = 15
const CIRCUITS = 10_000
const CHANGES_PER_SECOND = 100
const MEASURED_SECONDS = 20

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** The processor time of a run of Node, in milliseconds. A busy machine makes it wait, and hardly makes this longer. */
const startMillis = (...args: ReadonlyArray<string>): number =>
  median(Array.from({ length: STARTS }, () => {
    const { stderr, stdout, status } = spawnSync("/bin/sh", [
      "-c",
      "\"$0\" \"$@\" >/dev/null; times",
      process.execPath,
      ...args
    ], { encoding: "utf8" })
    if (status !== 0) throw new Error(stderr)
    // The last line is the time of the children: user and system.
    const times = stdout.trim().split("\n").at(-1)!.matchAll(/(\d+)m([\d.]+)s/g)
    return [...times].reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000, 0)
  }))

/** The processor time of a process so far, in milliseconds. The kernel counts it in hundredths of a second. */
const usedMillis = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13)
  return (Number(user) + Number(system)) * 10
}

const shareOf = (pid: number) =>
  Effect.gen(function*() {
    // Until it has started and read everything.
    yield* Effect.sleep("5 seconds")
    const [used, at] = [usedMillis(pid), performance.now()]
    yield* Effect.sleep(MEASURED_SECONDS * 1000)
    return (usedMillis(pid) - used) / (performance.now() - at)
  })

const percent = (share: number): string => `${Math.round(100 * share)} % of a core`

const directory = await temporaryDirectory()
const redis = await RedisServer.start()
try {
  const file = join(directory, "circuits.db")
  await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const storage = Context.get(yield* Layer.build(SqliteStorageLive.layer({ file })), Storage)
    yield* circuitOf(storage, "payments").report(failures(1))
  })))
  const [node, ls] = [startMillis("-e", "0"), startMillis(BIN, "ls", "--storage", `sqlite:${file}`)]
  console.log(
    `ls on SQLite takes ${Math.round(ls)} ms of processor time, ${(ls / node).toFixed(1)} times node -e 0 (${
      Math.round(node)
    } ms)`
  )

  await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const storage = Context.get(
      yield* Layer.build(RedisStorageLive.layer(IoRedis.fromUrl(redis.url))),
      Storage
    )
    const name = (i: number) => `shop/host-${i % CIRCUITS}`
    for (let i = 0; i < CIRCUITS; i += 100) {
      yield* storage.sync(Array.from({ length: 100 }, (_, j) => ({
        circuit: name(i + j),
        instance: "bench",
        sequence: 1,
        generation: 0,
        delta: failures(1),
        withins: []
      })))
    }
    let changed = 0
    const change = Effect.suspend(() => circuitOf(storage, name(37 * changed++)).operate({ _tag: "HalfOpen" }))
    yield* Effect.forkScoped(Effect.schedule(
      Effect.forEach(Array.from({ length: CHANGES_PER_SECOND / 10 }), () => change, { discard: true }),
      Schedule.fixed("100 millis")
    ))

    const pty = new Pty({ url: redis.url }, ["watch"], { columns: 120, rows: 40 })
    yield* Effect.promise(() => pty.shows(/CIRCUIT/))
    console.log(`watch: ${percent(yield* shareOf(pty.pid))}`)
    pty.type("q")
    yield* Effect.promise(() => pty.end())

    const served = spawnCli({ url: redis.url }, ["dashboard", "--port", "0", "--json"])
    const [line] = (yield* Effect.promise(() => once(served.stdout.setEncoding("utf8"), "data"))) as [string]
    const { url } = JSON.parse(line) as { readonly url: string }
    const viewer = spawn("curl", ["-sN", `${url}/api/events`], { stdio: "ignore" })
    const [before, from] = [changed, performance.now()]
    console.log(`dashboard, with one viewer: ${percent(yield* shareOf(served.pid!))}`)
    console.log(`changes a second: ${Math.round((changed - before) * 1000 / (performance.now() - from))}`)
    viewer.kill()
    served.kill()
    yield* Effect.promise(() => once(served, "close"))
  })))
} finally {
  await redis.stop()
  await rm(directory, { recursive: true, force: true })
}
