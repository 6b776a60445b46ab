/**
 * `npm run bench:redis:scripts`: the time that Redis's main thread takes for a report and for a look, by the server's own
 * statistics. `-- --beside <checkout>` measures the scripts of another checkout in the same run, `-- --json` prints one
 * document. It starts a redis-server.
 *
 * The script of each contender has circuits of its own, each with a full window and many instances. They take turns,
 * because the speed of a machine changes by the second. A result is the median of all rounds.
 */
import { Redis } from "ioredis"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import { noDelta } from "../../src/core/Delta.ts"
import type { Report } from "../../src/core/Report.ts"
import { RedisServer } from "../../test/support/servers/redis.ts"
import { align, format, type Result, toJson } from "../fleet/report.ts"
import { median } from "../timing.ts"

const CIRCUITS = 50
const INSTANCES = 200
const COMMANDS = 10_000
const ROUNDS = 5
const MINUTE = 60_000

interface Contender {
  readonly name: string
  readonly lua: string
  readonly digest: string
  readonly keysOf: (circuit: string) => ReadonlyArray<string>
  readonly encodeReport: (report: Report) => object
}

const contenderIn = async (name: string, checkout: string): Promise<Contender> => {
  const module = (path: string) => import(pathToFileURL(resolve(checkout, "src/redis", path)).href)
  const [{ scripts }, { KeyNames }, { encodeReport }] = await Promise.all([
    module("Scripts.ts"),
    module("KeyNames.ts"),
    module("Encode.ts")
  ])
  const names = new KeyNames(`${name}:`)
  return { name, ...scripts.sync, keysOf: (circuit) => names.of(circuit), encodeReport }
}

let sequence = 0

const successes = (buckets: number): Report["delta"] => ({
  ...noDelta,
  buckets: Array.from(
    { length: buckets },
    (_, i) => ({ age: (buckets - i) * 1000 - 600, success: 37, failure: 0, slow: 0 })
  ),
  streak: { leading: 0, sawSuccess: true, trailing: 0 },
  lifetime: { ...noDelta.lifetime, success: 37 * Math.max(1, buckets), lastSuccessAge: 3.25 }
})

const cases: Readonly<Record<string, Pick<Report, "delta" | "withins">>> = {
  "report-streak": { withins: [], delta: successes(0) },
  "report-rate": { withins: [MINUTE], delta: successes(1) },
  "report-rate-10-buckets": { withins: [MINUTE], delta: successes(10) },
  "look-streak": { withins: [], delta: noDelta },
  "look-rate": { withins: [MINUTE], delta: noDelta }
}

const send = (redis: Redis, { digest, encodeReport, keysOf }: Contender, at: number, what: typeof cases[string]) => {
  const kind = what.withins.length === 0 ? "streak" : "rate"
  const circuit = `${kind}-${at % CIRCUITS}`
  const instance = `instance-${String(Math.floor(at / CIRCUITS) % INSTANCES).padStart(23, "0")}`
  const report = { ...what, instance, sequence: ++sequence, generation: 0 }
  const input = {
    ...encodeReport(report),
    request: `bench.${sequence}`,
    channel: "changes",
    circuit,
    idle: 60 * MINUTE
  }
  return redis.evalsha(digest, 5, ...keysOf(circuit), JSON.stringify(input))
}

const sendAll = async (redis: Redis, contender: Contender, count: number, what: typeof cases[string]) => {
  let at = 0
  const one = async () => {
    while (at < count) await send(redis, contender, at++, what)
  }
  await Promise.all(Array.from({ length: 100 }, one))
}

/** Microseconds of the main thread and bytes, per script. */
const measured = async (redis: Redis, use: () => Promise<void>) => {
  const read = async () => {
    const info = await redis.info("all")
    const number = (pattern: RegExp) => Number(pattern.exec(info)?.[1] ?? 0)
    return {
      calls: number(/cmdstat_evalsha:calls=(\d+)/),
      micros: number(/cmdstat_evalsha:calls=\d+,usec=(\d+)/),
      bytes: number(/total_net_input_bytes:(\d+)/) + number(/total_net_output_bytes:(\d+)/)
    }
  }
  const before = await read()
  await use()
  const after = await read()
  const calls = after.calls - before.calls
  return { micros: (after.micros - before.micros) / calls, bytes: (after.bytes - before.bytes) / calls }
}

const { values } = parseArgs({
  options: { beside: { type: "string" }, json: { type: "boolean" } },
  allowPositionals: true
})
const server = await RedisServer.start()
try {
  const redis = new Redis(server.port, "127.0.0.1")
  const contenders = [await contenderIn("now", ".")]
  if (values.beside !== undefined) contenders.push(await contenderIn("beside", values.beside))
  for (const { lua } of contenders) await redis.script("LOAD", lua)
  const samples = new Map<string, { readonly micros: Array<number>; readonly bytes: Array<number> }>()
  for (const contender of contenders) {
    // A full window, and every instance known.
    await sendAll(redis, contender, CIRCUITS, { withins: [MINUTE], delta: successes(60) })
    for (const withins of [[], [MINUTE]]) {
      await sendAll(redis, contender, CIRCUITS * INSTANCES, { withins, delta: successes(withins.length) })
    }
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, what] of Object.entries(cases)) {
      for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
        const key = `${name} ${contender.name}`
        if (!samples.has(key)) samples.set(key, { micros: [], bytes: [] })
        const { bytes, micros } = await measured(redis, () => sendAll(redis, contender, COMMANDS, what))
        samples.get(key)!.micros.push(micros)
        samples.get(key)!.bytes.push(bytes)
      }
    }
  }
  const results = Object.keys(cases).flatMap((name) =>
    contenders.flatMap((contender): Array<Result> => {
      const { bytes, micros } = samples.get(`${name} ${contender.name}`)!
      return [
        { case: name, contender: contender.name, value: median(micros), unit: "µs" },
        { case: `${name}-bytes`, contender: contender.name, value: median(bytes), unit: "bytes" }
      ]
    })
  )
  console.log(
    values.json === true
      ? toJson(results)
      : align(results.map(({ case: name, contender, unit, value }) => [name, contender, format(value), unit]))
  )
  redis.disconnect()
} finally {
  await server.stop()
}
