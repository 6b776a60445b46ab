/** How the compiler shows the types that users meet: in hovers, in messages and in declarations. */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)

/** Compiles a file of this folder, and returns what the compiler says and the types of what it exports. */
const compile = async (source: string) => {
  const folder = await mkdtemp(join(tmpdir(), "effect-breaker-shown-"))
  try {
    const config = join(folder, "tsconfig.json")
    await writeFile(
      config,
      JSON.stringify({
        extends: resolve("tsconfig.json"),
        compilerOptions: {
          noEmit: false,
          declaration: true,
          emitDeclarationOnly: true,
          rootDir: resolve("."),
          outDir: join(folder, "out"),
          typeRoots: [resolve("node_modules/@types")],
          plugins: []
        },
        include: [],
        files: [source]
      })
    )
    const { stdout } = await run(process.execPath, [resolve("node_modules/typescript/bin/tsc"), "-p", config])
      .catch((failure: { readonly stdout: string }) => failure)
    const declarations = await readFile(join(folder, "out/test/types/shown.d.ts"), "utf8")
    const types = declarations
      .replaceAll(/import\("[^"]*"\)\.|\bBreaker\.(?=[A-Z])/g, "")
      .matchAll(/^export declare const (\w+): ([^;]*);/gm)
    return { stdout, types: Object.fromEntries(types.map(([, name, type]) => [name, type])) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

describe("the compiler", () => {
  it("shows the errors of a breaker, and not the policy that they come from", async () => {
    const { stdout, types } = await compile(resolve("test/types/shown.ts"))
    assert.strictEqual(stdout, "")
    const errors = "BreakerOpenError | BreakerTimeoutError"
    assert.deepStrictEqual(types, {
      client:
        `Effect.Effect<HttpClient.HttpClient.With<${errors} | HttpClientError, Payments>, never, HttpClient.HttpClient>`,
      generated: `Effect.Effect<string, "declined" | ${errors}, Payments>`,
      handled: "Effect.Effect<string, \"declined\" | BreakerTimeoutError, Payments>",
      keyed: `Effect.Effect<string, "declined" | ${errors} | BulkheadFullError, Hosts>`,
      made: `Effect.Effect<Breaker<${errors}>, never, Scope | Storage>`,
      madeKeyed: `Effect.Effect<KeyedBreaker<${errors}>, never, Scope | Storage>`,
      permit: "Effect.Effect<Permit, BreakerOpenError | BulkheadFullError, Hosts | Scope>",
      stream: `Stream.Stream<1, ${errors}, Payments>`,
      strict: "Effect.Effect<string, \"declined\" | BreakerOpenError | StorageError, Ledger>",
      wrap: `Wrap<${errors}, Payments>`,
      wrapped: `Effect.Effect<string, "declined" | ${errors}, Payments>`,
      wrappedWith: `Effect.Effect<string, "declined" | ${errors}, Payments>`
    })
  })
})
