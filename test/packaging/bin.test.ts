/** The command line as its users get it: the tests install the tarball in an empty project, and run its bin there. */
import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)
let project: string
let versions: Readonly<Record<string, string>>

const install = (...packages: ReadonlyArray<string>) =>
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "--legacy-peer-deps", ...packages], {
    cwd: project
  })

/** `npx effect-breaker` with these arguments. */
const bin = (...args: ReadonlyArray<string>) =>
  run("npx", ["--no-install", "effect-breaker", ...args], { cwd: project }).then(
    ({ stderr, stdout }) => ({ code: 0, stderr, stdout }),
    ({ code, stderr, stdout }: { readonly code: number; readonly stderr: string; readonly stdout: string }) => ({
      code,
      stderr,
      stdout
    })
  )

/** Makes a circuit in a SQLite file, and opens it. */
const service = `
import { Effect } from "effect"
import { Breaker, Trip } from "effect-breaker"
import { layer } from "effect-breaker/layers/SqliteStorageLive"

const program = Effect.gen(function*() {
  const payments = yield* Breaker.make("payments", { trip: Trip.consecutiveFailures(1) })
  yield* Effect.ignore(payments.wrap(Effect.fail("declined")))
})
await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer({ file: "circuits.db" }))))
`

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "effect-breaker-bin-"))
  versions = JSON.parse(await readFile("package.json", "utf8")).devDependencies
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module", private: true }))
  await writeFile(join(project, "service.js"), service)
  await install(inject("tarball"), `effect@${versions["effect"]}`)
})

afterAll(() => rm(project, { recursive: true, force: true }))

describe("the bin of the tarball", () => {
  it("names each package that is missing with the command that installs it, and then runs", async () => {
    const bare = await bin("ls", "--storage", "sqlite:circuits.db")
    assert.deepStrictEqual([bare.code, bare.stdout], [2, ""])
    assert.include(bare.stderr, `run "npm install @effect/platform-node"`)
    await install(`@effect/platform-node@${versions["@effect/platform-node"]}`)

    const { version } = JSON.parse(await readFile("package.json", "utf8"))
    assert.include((await bin("--version")).stdout, version)
    for (
      const [url, driver] of [
        ["redis://127.0.0.1:1", "ioredis"],
        ["postgres://127.0.0.1:1/d", "@effect/sql-pg"],
        ["mysql://127.0.0.1:1/d", "mysql2"]
      ] as const
    ) {
      const { code, stderr, stdout } = await bin("ls", "--storage", url)
      assert.deepStrictEqual([code, stdout], [2, ""], stderr)
      assert.include(stderr, `npm install ${driver}`)
    }

    await run(process.execPath, ["service.js"], { cwd: project })
    const storage = ["--storage", "sqlite:circuits.db"]
    const listed = await bin("ls", ...storage)
    assert.strictEqual(listed.code, 0, listed.stderr)
    assert.match(listed.stdout, /^payments +open .*1 consecutive failures/m)
    const codes = [
      (await bin("ls", "--fail-on", "open", ...storage)).code,
      (await bin("lst", ...storage)).code,
      (await bin("reset", "payments", ...storage)).code,
      (await bin("reset", "payments", "--yes", ...storage)).code
    ]
    assert.deepStrictEqual(codes, [1, 2, 4, 0])
  })
})
