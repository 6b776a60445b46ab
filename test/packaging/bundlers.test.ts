/**
 * A program with `StorageLive` and one driver installed, ioredis, as bundlers build it. The tests build it with each of them and
 * run what they built.
 */
import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import * as esbuild from "esbuild"
import { execFile } from "node:child_process"
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { promisify } from "node:util"
import { rolldown } from "rolldown"
import webpack from "webpack"

const program = `
import { Effect, Logger } from "effect"
import { Breaker } from "effect-breaker"
import { StorageLive } from "effect-breaker/layers/StorageLive"

class Payments extends Breaker.Service()("payments", {}) {}

const program = Payments.wrap(Effect.succeed("charged")).pipe(
  Effect.provide(Payments.layer),
  Effect.provide(StorageLive),
  Effect.provide(Logger.layer([]))
)

Effect.runPromise(program).then(
  (result) => console.log(result),
  (error) => console.log(error._tag + ": " + error.message)
).then(() => process.exit())
`

const run = promisify(execFile)
const { devDependencies } = JSON.parse(await readFile("package.json", "utf8"))
let project: string

const install = (folder: string, packages: ReadonlyArray<string>) =>
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", ...packages], { cwd: folder })

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "effect-breaker-bundled-"))
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module", private: true }))
  await writeFile(join(project, "program.js"), program)
  await install(project, [
    inject("tarball"),
    ...["effect", "ioredis"].map((name) => `${name}@${devDependencies[name]}`)
  ])
})

afterAll(() => rm(project, { recursive: true, force: true }))

/** Builds the program into one file, and returns its path. */
type Build = (outfile: string) => Promise<void>

const bundlers: ReadonlyArray<readonly [name: string, extension: string, build: Build]> = [
  ["esbuild", "cjs", async (outfile) => {
    const { errors, warnings } = await esbuild.build({ ...esbuildOptions(outfile), format: "cjs" })
    assert.deepEqual([...errors, ...warnings].map(({ text }) => text), [])
  }],
  ["esbuild as an ES module", "js", async (outfile) => {
    const js = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);"
    const { errors, warnings } = await esbuild.build({ ...esbuildOptions(outfile), format: "esm", banner: { js } })
    assert.deepEqual([...errors, ...warnings].map(({ text }) => text), [])
  }],
  ["esbuild with external packages", "js", async (outfile) => {
    const { errors, warnings } = await esbuild.build({
      ...esbuildOptions(outfile),
      format: "esm",
      packages: "external"
    })
    assert.deepEqual([...errors, ...warnings].map(({ text }) => text), [])
  }],
  ["webpack", "cjs", (outfile) =>
    pack({
      ...webpackOptions(outfile),
      entry: "./program.js",
      optimization: { minimize: false },
      plugins: [new webpack.optimize.LimitChunkCountPlugin({ maxChunks: 1 })]
    })],
  // As Next 15 builds server code: a layer whose packages resolve as on a React server, minified, with a file for each chunk.
  ["webpack as for Next's app router", "cjs", (outfile) => {
    const { output, ...options } = webpackOptions(outfile)
    const conditionNames = ["react-server", "node", "import", "require", "default"]
    return pack({
      ...options,
      entry: { main: { import: "./program.js", layer: "rsc" } },
      output: { ...output, chunkFilename: "app-router/[id].cjs", library: { type: "commonjs2" } },
      experiments: { layers: true },
      externalsPresets: { node: true },
      module: { rules: [{ issuerLayer: "rsc", resolve: { conditionNames } }, { layer: "rsc", resource: /program/ }] },
      optimization: { minimize: true, moduleIds: "named" }
    })
  }],
  // Packages stay outside, and those of ES modules are imported.
  ["webpack as for Next's pages router", "cjs", (outfile) =>
    pack({
      ...webpackOptions(outfile),
      entry: "./program.js",
      externals: [({ request = "" }) => Promise.resolve(/^[@a-z]/.test(request) ? `import ${request}` : undefined)],
      optimization: { minimize: true }
    })],
  ["rolldown", "js", async (outfile) => {
    const bundle = await rolldown({ cwd: project, input: "program.js", platform: "node", logLevel: "silent" })
    await bundle.write({ file: outfile, format: "esm", codeSplitting: false })
    await bundle.close()
  }]
]

const webpackOptions = (outfile: string) => ({
  context: project,
  mode: "production",
  target: "node22",
  output: { path: dirname(outfile), filename: basename(outfile) }
} as const)

const pack = (options: webpack.Configuration): Promise<void> =>
  new Promise((done, failed) => {
    const built = webpack(options)
    built.run((error, stats) => {
      built.close(() => {})
      const errors = stats?.toJson({ errors: true }).errors ?? []
      if (error !== null || errors.length > 0) {
        failed(error ?? new Error(errors.map(({ message }) => message).join("\n")))
      } else done()
    })
  })

const esbuildOptions = (outfile: string): esbuild.BuildOptions => ({
  absWorkingDir: project,
  entryPoints: ["program.js"],
  bundle: true,
  platform: "node",
  target: "node22",
  outfile,
  logLevel: "silent"
})

const absent = [
  ["mysql", "mysql2", { MYSQL_URL: "mysql://user@localhost/db" }],
  ["postgres", "@effect/sql-pg", { DATABASE_URL: "postgres://user@localhost/db" }],
  ["file", "@effect/platform-node", {}]
] as const

const output = async (file: string, environment: Readonly<Record<string, string>>): Promise<string> => {
  const { stdout } = await run(process.execPath, [file], { cwd: project, env: { ...process.env, ...environment } })
  return stdout.trim()
}

describe("a program with one driver installed", () => {
  for (const [name, extension, build] of bundlers) {
    describe(`built by ${name}`, () => {
      let file: string
      beforeAll(async () => {
        file = join(project, `${name.replaceAll(/[^a-z]+/gi, "-")}.${extension}`)
        await build(file)
      })

      it(`${name} builds a program with one driver installed, and it runs on memory (F23)`, async () => {
        assert.strictEqual(await output(file, {}), "charged")
      })

      it(`${name} builds a program with one driver installed, and it runs on that driver (F23)`, async () => {
        // Nobody listens there, so the breaker goes alone.
        const environment = { CIRCUIT_BREAKER_PERSISTENCE: "redis", REDIS_URL: "redis://127.0.0.1:1" }
        assert.strictEqual(await output(file, environment), "charged")
      })

      for (const [persistence, driver, variables] of absent) {
        it(`${name}: ${persistence} without its driver is an error that says what to install (F23)`, async () => {
          const printed = await output(file, { CIRCUIT_BREAKER_PERSISTENCE: persistence, ...variables })
          assert.include(printed, "ConfigError")
          assert.include(printed, `The package ${driver} could not be loaded: run "npm install ${driver}"`)
        })
      }
    })
  }

  it("a bundle has the driver that is installed, and runs without any package (F23)", async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), "effect-breaker-deployed-"))
    const file = join(elsewhere, "program.cjs")
    await copyFile(join(project, "esbuild.cjs"), file)
    const environment = { CIRCUIT_BREAKER_PERSISTENCE: "redis", REDIS_URL: "redis://127.0.0.1:1" }
    const { stdout } = await run(process.execPath, [file], { cwd: elsewhere, env: { ...process.env, ...environment } })
    await rm(elsewhere, { recursive: true, force: true })
    assert.strictEqual(stdout.trim(), "charged")
  })
})
