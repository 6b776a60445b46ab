/**
 * The package as its users get it: the tests install the tarball in an empty project, type-check it there and run it.
 */
import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"

const program = `
import { Effect, Logger } from "effect"
import { Breaker, Outcome, Storage, Trip } from "effect-breaker"
import { MemoryStorageLive } from "effect-breaker/layers/MemoryStorageLive"
import { layer } from "effect-breaker/Storage/Memory"

export class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(1),
  timeout: "2 seconds",
  classify: (exit) => exit._tag === "Success" ? Outcome.success : Outcome.failure()
}) {}

const charge = (effect: Effect.Effect<string, "declined">): Effect.Effect<
  string,
  "declined" | Breaker.BreakerOpenError | Breaker.BreakerTimeoutError,
  Payments
> => effect.pipe(Payments.wrap)

const program = Effect.gen(function*() {
  const first = yield* charge(Effect.succeed("ok"))
  const second = yield* Effect.flip(charge(Effect.fail("declined")))
  const third = yield* Effect.flip(charge(Effect.succeed("never")))
  return [first, second, typeof third === "string" ? third : third._tag]
})

for (const storage of [Storage.MemoryStorageLive, MemoryStorageLive, layer]) {
  console.log(JSON.stringify(
    await Effect.runPromise(
      program.pipe(Effect.provide(Payments.layer), Effect.provide(storage), Effect.provide(Logger.layer([])))
    )
  ))
}
`

const misuse = `
import { Effect } from "effect"
import { Breaker } from "effect-breaker"
class Payments extends Breaker.Service<Payments>()("payments", {}) {}
// @ts-expect-error a breaker without a storage
export const running: Promise<string> = Effect.runPromise(Effect.succeed("ok").pipe(Payments.wrap, Effect.provide(Payments.layer)))
// @ts-expect-error not for users
export type Inside = typeof import("effect-breaker/internal/Shared")
// @ts-expect-error not for users
export type Core = typeof import("effect-breaker/core/Machine")
`

const config = {
  compilerOptions: {
    module: "NodeNext",
    target: "ES2024",
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    declaration: true,
    types: ["node"],
    outDir: "out"
  }
}

const run = promisify(execFile)
let project: string

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "effect-breaker-consumer-"))
  const { devDependencies } = JSON.parse(await readFile("package.json", "utf8"))
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module", private: true }))
  await writeFile(join(project, "tsconfig.json"), JSON.stringify(config))
  await writeFile(join(project, "program.ts"), program)
  await writeFile(join(project, "misuse.ts"), misuse)
  const wanted = [inject("tarball"), ...["effect", "@types/node"].map((name) => `${name}@${devDependencies[name]}`)]
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...wanted], { cwd: project })
})

afterAll(() => rm(project, { recursive: true, force: true }))

describe("a consumer", () => {
  it("type-checks against the installed package, its declarations included, and runs", async () => {
    await run(process.execPath, [resolve("node_modules/typescript/bin/tsc"), "-p", project]).catch(
      (failure: { readonly stdout: string }) => assert.fail(failure.stdout)
    )
    const { stdout } = await run(process.execPath, ["out/program.js"], { cwd: project })
    assert.deepEqual(stdout.trim().split("\n"), Array(3).fill(`["ok","declined","BreakerOpenError"]`))
  })

  it("installs nothing but effect along with it", async () => {
    const { stdout } = await run("npm", ["ls", "--json", "--omit=optional"], { cwd: project })
    assert.sameMembers(Object.keys(JSON.parse(stdout).dependencies), ["effect", "effect-breaker", "@types/node"])
    const installed = JSON.parse(await readFile(join(project, "node_modules/effect-breaker/package.json"), "utf8"))
    assert.isUndefined(installed.dependencies)
  })

  it("cannot reach what is internal", async () => {
    for (const subpath of ["internal/Shared", "core/Machine", "Policy"]) {
      const inside = run(process.execPath, ["-e", `import("effect-breaker/${subpath}")`], { cwd: project })
      const failure = await inside.then(() => "", (error: { readonly stderr: string }) => error.stderr)
      assert.include(failure, "ERR_PACKAGE_PATH_NOT_EXPORTED", subpath)
    }
  })
})
