/** The command line on Redis, Postgres and MariaDB. */
import { Context, Effect, Layer } from "effect"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { Output } from "../../src/cli/Output.ts"
import { circuitOf, failures } from "../../src/conformance/Law.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorageLive from "../../src/layers/RedisStorageLive.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { CLEANED_REDIS, CLEANED_SQL, commandLine } from "../support/commandLine.ts"
import { cli as redisCli } from "../support/servers/redis.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { Shell } from "../support/terminal.ts"
import { freshPrefix } from "./databases.ts"

const at = (url: () => string) => () => Promise.resolve({ url: url(), prefix: freshPrefix() })

describe("the command line on servers", () => {
  commandLine([
    { name: "Redis", target: at(() => serverUrl("redis")), cleaned: CLEANED_REDIS },
    { name: "Postgres", target: at(() => serverUrl("postgres")), cleaned: CLEANED_SQL },
    { name: "MariaDB", target: at(() => serverUrl("mysql")), cleaned: CLEANED_SQL }
  ])
})

describe("circuits on Redis", () => {
  const prefix = freshPrefix()
  let shell: Shell

  beforeAll(async () => {
    shell = await Shell.start({ url: serverUrl("redis"), prefix })
    await Effect.gen(function*() {
      const storage = Context.get(
        yield* Layer.build(RedisStorageLive.layer({ ...IoRedis.fromUrl(serverUrl("redis")), prefix })),
        Storage
      )
      yield* circuitOf(storage, "payments").open()
      yield* circuitOf(storage, "users").report(failures(1))
    }).pipe(Effect.scoped, Effect.runPromise)
  })
  afterAll(() => shell.stop())

  it("get back the expiry that their keys have lost, by clean-up and a yes", async () => {
    const key = `${prefix}{users}`
    const redis = (...command: ReadonlyArray<string>) => redisCli(Number(new URL(serverUrl("redis")).port), ...command)
    assert.strictEqual(await redis("PERSIST", key), "1")
    assert.strictEqual((await shell.run("clean-up")).code, 4)
    assert.strictEqual(await redis("TTL", key), "-1")
    const { code, stderr, stdout } = await shell.run("clean-up", "--yes")
    assert.deepStrictEqual([code, stdout], [0, "1 keys\n"], stderr)
    assert.isAbove(Number(await redis("TTL", key)), 0)
  })

  it("move to Postgres by migrate, phase by phase", async () => {
    const to = serverUrl("postgres")
    const migrate = async (...args: ReadonlyArray<string>) => {
      const { code, stderr, stdout } = await shell.run("migrate", ...args, "--to", to, "--name", "to-postgres")
      assert.strictEqual(code, 0, stderr)
      return stdout
    }
    assert.strictEqual(await migrate("backfill", "--yes"), "2 circuits compared, 2 carried\n")
    assert.strictEqual(await migrate("compare"), "2 circuits, 0 differ\n")
    for (const phase of ["read-both-write-both", "read-new-write-both", "read-new-write-new"]) {
      assert.match(await migrate("switch", phase, "--yes"), new RegExp(`^"to-postgres": ${phase}, was `))
    }
    const { circuits }: Output.Ls = JSON.parse((await shell.run("ls", "--storage", to, "--json")).stdout)
    assert.deepStrictEqual(circuits.map(({ circuit, state }) => [circuit, state]), [
      ["payments", "open"],
      ["users", "closed"]
    ])
  })
})
