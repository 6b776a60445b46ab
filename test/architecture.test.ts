/**
 * Checks that the lint rules enforce the direction of dependencies. Each line is a file in a tree that is laid out as
 * `src`.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"

const refused = {
  "src": [
    `import "./layers/MemoryStorageLive.ts"`,
    `import "./Storage/Memory.ts"`,
    `import "./index.ts"`,
    `import "effect"`,
    `import "effect-breaker"`,
    `import "effect/FileSystem"`,
    `import "effect/persistence/Redis"`,
    `import type {} from "effect/LayerMap"`,
    `import "@effect/platform-node"`,
    `import "node:fs"`,
    `import "ioredis"`,
    `import "eventemitter3"`,
    `import "../examples/gateway.ts"`,
    `import "../test/support/docs.ts"`,
    `import "./testing.ts"`,
    `import "./testing/Drive.ts"`
  ],
  "src/core": [
    `import "../Breaker.ts"`,
    `import "../internal/Call.ts"`,
    `import "../Storage/Storage.ts"`,
    `import type {} from "../Policy.ts"`,
    `import "effect/Effect"`,
    `import type {} from "effect/FileSystem"`,
    `import "node:fs"`,
    `import "../../bench/main.ts"`
  ],
  "src/internal": [
    `import "../layers/MemoryStorageLive.ts"`,
    `import "../Storage/Memory.ts"`,
    `import "../Storage.ts"`,
    `import "../index.ts"`,
    `import "../testing/internal/World.ts"`,
    `import "./fleet/Member.ts"`,
    `import type {} from "./fleet/Connection.ts"`,
    `import "effect/sql/SqlClient"`,
    `import "ioredis"`
  ],
  "src/internal/fleet": [
    `import "../../layers/MemoryStorageLive.ts"`,
    `import "../../Storage/Memory.ts"`,
    `import "../../Storage.ts"`,
    `import "../Circuit.ts"`,
    `import type {} from "../Circuit.ts"`,
    `import "ioredis"`
  ],
  "src/Storage": [
    `import "./Memory.ts"`,
    `import "../Storage/Memory.ts"`,
    `import "../layers/MemoryStorageLive.ts"`,
    `import "../internal/Call.ts"`,
    `import "../internal/Request.ts"`,
    `import "../Breaker.ts"`,
    `import "../../test/support/docs.ts"`
  ],
  "src/combine": [
    `import "../internal/Call.ts"`,
    `import "../internal/fleet/Engine.ts"`,
    `import "../Storage/Fallback.ts"`,
    `import "../Breaker.ts"`,
    `import "ioredis"`
  ],
  "src/combine/chain": [
    `import "../../internal/Gate.ts"`,
    `import "../../Storage/Fallback.ts"`,
    `import "ioredis"`
  ],
  "src/conformance": [
    `import "../internal/Request.ts"`,
    `import "../Storage/Memory.ts"`
  ],
  "src/file": [
    `import "../Storage/File.ts"`,
    `import "../layers/FileStorageLive.ts"`,
    `import "../internal/Call.ts"`,
    `import "../Breaker.ts"`
  ],
  "src/sql": [
    `import "../Storage/Sql.ts"`,
    `import "../layers/Postgres.ts"`,
    `import "../internal/Call.ts"`
  ],
  "src/config": [
    `import "../core/State.ts"`,
    `import "../layers/RedisStorageLive.ts"`,
    `import "../http/HttpClient.ts"`,
    `import "yaml"`
  ],
  "src/layers": [
    `import "../Breaker.ts"`,
    `import "../sql/DatabaseUrl.ts"`,
    `import "../core/State.ts"`,
    `import "../internal/Call.ts"`,
    `import "effect"`,
    `import "ioredis"`,
    `import "@effect/sql-pg/PgClient"`
  ],
  "src/cli": [
    `import "../layers/RedisStorageLive.ts"`,
    `import "../redis/Fields.ts"`,
    `import "../conformance/Law.ts"`,
    `import "@effect/platform-node/NodeServices"`,
    `import "ioredis"`
  ],
  "src/testing": [
    `import "../layers/MemoryStorageLive.ts"`,
    `import "../Storage/Redis.ts"`,
    `import "../core/State.ts"`,
    `import "../index.ts"`,
    `import "vitest"`
  ],
  "src/testing/internal": [`import "../../Storage/Memory.ts"`, `import "../../../test/sim/schedule.ts"`],
  "src/internal/drivers": [`import "../Call.ts"`, `import "../../layers/IoRedis.ts"`]
}

const accepted = {
  "src": [
    `import "./internal/Call.ts"`,
    `import "./Storage/Storage.ts"`,
    `import "./core/State.ts"`,
    `import "effect/Effect"`
  ],
  "src/core": [`import "./State.ts"`, `import type {} from "effect/Duration"`],
  "src/internal": [
    `import "./Call.ts"`,
    `import "./fleet/Fleet.ts"`,
    `import "../Storage/Storage.ts"`,
    `import "../core/State.ts"`,
    `import "../Event.ts"`
  ],
  "src/internal/fleet": [
    `import "./Member.ts"`,
    `import "../Clock.ts"`,
    `import "../../Storage/Storage.ts"`,
    `import "../../core/State.ts"`
  ],
  "src/Storage": [
    `import "./Storage.ts"`,
    `import "../core/State.ts"`,
    `import "../internal/Clock.ts"`,
    `import "../internal/StorageErrors.ts"`,
    `import "ioredis"`,
    `import "effect/sql/SqlClient"`
  ],
  "src/combine": [
    `import "./Other.ts"`,
    `import "../internal/Request.ts"`,
    `import "../internal/Fork.ts"`,
    `import "../Storage/Storage.ts"`
  ],
  "src/combine/chain": [
    `import "./Hops.ts"`,
    `import "../FusedStorage.ts"`,
    `import "../../internal/Request.ts"`,
    `import "../../Storage/Storage.ts"`
  ],
  "src/conformance": [`import "../internal/Clock.ts"`],
  "src/file": [`import "./FolderName.ts"`, `import "../Storage/Document.ts"`, `import "effect/FileSystem"`],
  "src/sql": [`import "./Locks.ts"`, `import "../internal/Messages.ts"`, `import "../Storage/Storage.ts"`],
  "src/config": [
    `import "../Breaker.ts"`,
    `import "../internal/Check.ts"`,
    `import "../layers/StorageLive.ts"`,
    `import "effect/FileSystem"`,
    `import type {} from "yaml"`
  ],
  "src/layers": [
    `import "../Storage/Memory.ts"`,
    `import "./Client.ts"`,
    `import "../internal/drivers/Ioredis.ts"`,
    `import type {} from "ioredis"`,
    `import "effect/persistence/Redis"`
  ],
  "src/testing": [`import "../Breaker.ts"`, `import "../Storage/Storage.ts"`, `import "effect/testing/TestClock"`],
  "src/testing/internal": [`import "../../Breaker.ts"`, `import "../../Storage/Document.ts"`, `import "./World.ts"`],
  "src/internal/drivers": [`import "../ConfigErrors.ts"`, `await import("ioredis")`]
}

const cycles = {
  "src/internal/One.ts": `import "./Two.ts"`,
  "src/internal/Two.ts": `import "./One.ts"`,
  "src/internal/OneType.ts": `import type {} from "./TwoType.ts"\nexport type One = 1`,
  "src/internal/TwoType.ts": `import type {} from "./OneType.ts"\nexport type Two = 2`
}

interface Case {
  readonly file: string
  readonly folder: string
  readonly line: string
}

const casesOf = (name: string, lines: Readonly<Record<string, ReadonlyArray<string>>>): ReadonlyArray<Case> =>
  Object.entries(lines).flatMap(([folder, each]) =>
    each.map((line, index) => ({ file: `${folder}/${name}${index}.ts`, folder, line }))
  )

const bad = casesOf("Refused", refused)
const good = casesOf("Accepted", accepted)

let tree: string
const complaints = new Map<string, string>()

beforeAll(async () => {
  tree = await mkdtemp(join(tmpdir(), "effect-breaker-lint-"))
  await cp("oxlint.config.ts", join(tree, "oxlint.config.ts"))
  await symlink(resolve("node_modules"), join(tree, "node_modules"))
  const files = [...bad, ...good].map(({ file, line }): readonly [string, string] => [file, line])
  for (const [file, line] of [...files, ...Object.entries(cycles)]) {
    await mkdir(join(tree, dirname(file)), { recursive: true })
    await writeFile(join(tree, file), `${line}\n`)
  }
  const report = await new Promise<string>((done) =>
    execFile(
      process.execPath,
      ["node_modules/oxlint/bin/oxlint", "--format", "json", "src"],
      { cwd: tree },
      (_, stdout) => done(stdout)
    )
  )
  for (const { code, filename } of JSON.parse(report).diagnostics) complaints.set(filename, code)
})

afterAll(() => rm(tree, { recursive: true, force: true }))

describe("the lint rules", () => {
  for (const { file, folder, line } of bad) {
    it(`the lint rules refuse ${line} in ${folder}`, () => {
      assert.include(complaints.get(file) ?? "nothing", "no-restricted-imports")
    })
  }

  it("the lint rules accept imports that point inward", () => {
    assert.deepEqual(good.filter(({ file }) => complaints.has(file)), [])
  })

  it("the lint rules refuse an import cycle, also one of types alone", () => {
    for (const file of Object.keys(cycles)) assert.include(complaints.get(file) ?? "nothing", "no-cycle")
  })
})
