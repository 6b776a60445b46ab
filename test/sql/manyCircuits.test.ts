/** The command line over a hundred thousand circuits: it streams them, in memory that does not grow with their number. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll } from "vitest"
import type { Output } from "../../src/cli/Output.ts"
import { circuitOf, failures } from "../../src/conformance/Law.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import { KeyNames } from "../../src/redis/KeyNames.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { layerOn, send } from "../redis/support.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { cli } from "../support/terminal.ts"
import { freshPrefix, layerOn as layerOnDatabase, postgres } from "./databases.ts"

const CIRCUITS = 100_000

/**
 * Less than the circuits take as one array of snapshots. The young generation is kept small as well: at its usual size it alone
 * exceeds the limit, so that Node would collect all the time.
 */
const HEAP = "--max-old-space-size=64 --max-semi-space-size=4"

const directory = await temporaryDirectory()
afterAll(() => rm(directory, { recursive: true, force: true }))

/** A circuit that the storage has made itself. All others are copies of what it wrote, which takes a second instead of minutes. */
const MODEL = "shop/host-0.example.com"

/** Circuits of one statement or script. */
const COPIES = 10_000

const copies = <E, R>(copy: (from: number, to: number) => Effect.Effect<unknown, E, R>) =>
  Effect.gen(function*() {
    yield* circuitOf(yield* Storage, MODEL).report(failures(1))
    for (let from = 1; from < CIRCUITS; from += COPIES) {
      yield* copy(from, Math.min(CIRCUITS, from + COPIES) - 1)
    }
  })

const COPY_KEYS = `
for i = ARGV[2], ARGV[3] do
  for _, key in ipairs(KEYS) do
    redis.call("COPY", key, (key:gsub(ARGV[1]:gsub("%p", "%%%0"), "shop/host-" .. i .. ".example.com")))
  end
end`

const onRedis = (prefix: string) =>
  copies((from, to) => send("EVAL", COPY_KEYS, "5", ...new KeyNames(prefix).of(MODEL), MODEL, String(from), String(to)))
    .pipe(Effect.provide(layerOn(IoRedis.fromUrl(serverUrl("redis")), { prefix })))

const onPostgres = (prefix: string) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* copies((from, to) =>
      Effect.forEach(["states", "counts", "instances"], (table) =>
        sql.unsafe(
          `INSERT INTO ${prefix}${table} SELECT copy.* FROM ${prefix}${table} AS model, generate_series(${from}, ${to}) AS n,
LATERAL jsonb_populate_record(model, jsonb_build_object('service_name', 'shop/host-' || n || '.example.com')) AS copy
WHERE model.service_name = '${MODEL}'`
        ))
    )
    // The server would do so by itself after a while. Until then it reads whole tables.
    yield* sql.unsafe(`ANALYZE ${prefix}states, ${prefix}counts, ${prefix}instances`)
  }).pipe(Effect.provide(layerOnDatabase(postgres, { prefix })))

const namesInJson = (text: string) => (JSON.parse(text) as Output.Ls).circuits.map(({ circuit }) => circuit)

const namesInTable = (text: string) =>
  text.trimEnd().split("\n").slice(1).map((line) => line.slice(0, line.indexOf(" ")))

/** What is printed does not depend on the storage, so each form is printed of one. */
const places = [
  { name: "Redis", url: () => serverUrl("redis"), fill: onRedis, flags: ["--json"], namesIn: namesInJson },
  { name: "Postgres", url: () => serverUrl("postgres"), fill: onPostgres, flags: [], namesIn: namesInTable }
]

describe("ls over a hundred thousand circuits", () => {
  it.live.each(places)("on $name", ({ fill, flags, name, namesIn, url }) =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      yield* fill(prefix)
      const peak = join(directory, "peak")
      const module = join(directory, "peak.mjs")
      yield* Effect.promise(() =>
        writeFile(
          module,
          `import { writeFileSync } from "node:fs"
process.on("exit", () => writeFileSync(${JSON.stringify(peak)}, String(process.resourceUsage().maxRSS)))`
        )
      )
      const env = { NODE_OPTIONS: `${HEAP} --import ${module}` }
      const begin = performance.now()
      const { code, stderr, stdout } = yield* Effect.promise(() => cli({ url: url(), prefix }, ["ls", ...flags], env))
      const seconds = Math.round((performance.now() - begin) / 100) / 10
      assert.strictEqual(code, 0, stderr)
      const names = namesIn(stdout)
      assert.deepStrictEqual([names.length, new Set(names).size], [CIRCUITS, CIRCUITS])
      console.log(
        `ls of ${CIRCUITS} circuits on ${name}: ${seconds} s, ${
          Math.round(Number(yield* Effect.promise(() => readFile(peak, "utf8"))) / 1024)
        } MB at most`
      )
    }).pipe(Effect.scoped))
})
