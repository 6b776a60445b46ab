/** The command line over a hundred thousand circuits: it streams them, in memory that does not grow with their number. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { afterAll } from "vitest"
import type { Output } from "../../src/cli/Output.ts"
import { failures } from "../../src/conformance/Law.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { cli } from "../support/terminal.ts"
import { build, freshPrefix, postgres } from "./databases.ts"

const CIRCUITS = 100_000

/**
 * Less than the circuits take as one array of snapshots. The young generation is kept small as well: at its usual size it alone
 * exceeds the limit, so that Node would collect all the time.
 */
const HEAP = "--max-old-space-size=64 --max-semi-space-size=4"

const directory = await temporaryDirectory()
afterAll(() => rm(directory, { recursive: true, force: true }))

const fill = (storage: Storage) =>
  Effect.forEach(
    Array.from({ length: CIRCUITS / 100 }, (_, i) => i),
    (i) =>
      storage.sync(Array.from({ length: 100 }, (_, j) => ({
        circuit: `shop/host-${i * 100 + j}.example.com`,
        instance: "test",
        sequence: 1,
        generation: 0,
        delta: failures(1),
        withins: []
      }))),
    { concurrency: 4, discard: true }
  )

interface Place {
  readonly name: string
  readonly url: () => string
  readonly storage: (prefix: string) => Effect.Effect<Storage, never, Scope.Scope>
}

const places: ReadonlyArray<Place> = [
  {
    name: "Redis",
    url: () => serverUrl("redis"),
    storage: (prefix) =>
      Effect.map(
        Layer.build(
          Layer.fresh(
            Layer.provide(RedisStorage.layer({ prefix }), IoRedis.layer(IoRedis.fromUrl(serverUrl("redis"))))
          )
        ),
        Context.get(Storage)
      )
  },
  { name: "Postgres", url: () => serverUrl("postgres"), storage: (prefix) => build(postgres.client(), { prefix }) }
]

describe("ls over a hundred thousand circuits", () => {
  it.live.each(places)("on $name", ({ name, storage, url }) =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      yield* Effect.flatMap(storage(prefix), fill)
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
      const table = yield* Effect.promise(() => cli({ url: url(), prefix }, ["ls"], env))
      const seconds = Math.round((performance.now() - begin) / 100) / 10
      assert.strictEqual(table.code, 0, table.stderr)
      assert.strictEqual(table.stdout.split("\n").length, CIRCUITS + 2)
      console.log(
        `ls of ${CIRCUITS} circuits on ${name}: ${seconds} s, ${
          Math.round(Number(yield* Effect.promise(() => readFile(peak, "utf8"))) / 1024)
        } MB at most`
      )
      const json = yield* Effect.promise(() => cli({ url: url(), prefix }, ["ls", "--json"], env))
      const { circuits, unreadable } = JSON.parse(json.stdout) as Output.Ls
      assert.deepStrictEqual([new Set(circuits.map(({ circuit }) => circuit)).size, unreadable], [CIRCUITS, []])
    }).pipe(Effect.scoped))
})
