/** What the command line says about itself, its storage and its environment. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll } from "vitest"
import * as Cli from "../../src/cli/Cli.ts"
import { circuitOf, failures } from "../../src/conformance/Law.ts"
import * as SqliteStorageLive from "../../src/layers/SqliteStorageLive.ts"
import { layer as memoryLayer } from "../../src/Storage/Memory.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { until } from "../support/machine.ts"
import { BIN, cli, Shell } from "../support/terminal.ts"

const directory = await mkdtemp(join(tmpdir(), "effect-breaker-usage-"))
const file = join(directory, "circuits.db")
const target = { url: `sqlite:${file}` }

/** Makes circuits in the SQLite file. */
const fill = (file: string, circuits: number) =>
  Effect.gen(function*() {
    const storage = Context.get(yield* Layer.build(SqliteStorageLive.layer({ file })), Storage)
    yield* circuitOf(storage, "payments").open()
    for (let i = 0; i < circuits; i += 100) {
      yield* storage.sync(Array.from({ length: 100 }, (_, j) => ({
        circuit: `circuit ${i + j}`,
        instance: "test",
        sequence: 1,
        generation: 0,
        delta: failures(1),
        withins: []
      })))
    }
  }).pipe(Effect.scoped)

const manyFile = join(directory, "many.db")
const many = { url: `sqlite:${manyFile}` }

let shell: Shell
const run = (args: ReadonlyArray<string>) => shell.run(...args)

beforeAll(async () => {
  await Effect.runPromise(Effect.andThen(fill(file, 200), fill(manyFile, 3000)))
  shell = await Shell.start(target)
})
afterAll(async () => {
  await shell.stop()
  await rm(directory, { recursive: true, force: true })
})

/** A module that runs before the command, in its process. */
const before = async (name: string, source: string): Promise<Readonly<Record<string, string>>> => {
  const module = join(directory, `${name}.mjs`)
  await writeFile(module, source)
  return { NODE_OPTIONS: `--import ${module}` }
}

describe("config check", () => {
  const check = async (name: string, text: string, ...flags: ReadonlyArray<string>) => {
    const path = join(directory, name)
    await writeFile(path, text)
    const { code, stdout } = await run(["config", "check", path, ...flags])
    return { code, lines: stdout.trimEnd().replaceAll(`${directory}/`, "").split("\n") }
  }

  it("prints what each service would go by, and where that is from", async () => {
    const text = `circuit_breaker:
  services:
    payments: { failure_threshold: 5, half_open: { probes: 2 } }
    hosts: { capacity: 1000, idle_time_to_live: 60 }
    mail:
      throttle: { k: 3,
        max: 0.5 }
      half_open: { sample: { calls: 4 } }
      consistency: { max_age: 2 }
      open_for: 0.25
`
    const { code, lines } = await check("right.yaml", text)
    assert.deepStrictEqual({ code, lines }, {
      code: 0,
      lines: [
        `"right.yaml" is right.`,
        "payments",
        "  trip: 5 consecutive failures  (right.yaml:3)",
        "  halfOpen.probes: 2  (right.yaml:3)",
        "hosts",
        "  capacity: 1000  (right.yaml:4)",
        "  idleTimeToLive: 60 s  (right.yaml:4)",
        "mail",
        "  throttle: k 3 of at least 20 calls within 120 s, at most 0.5  (right.yaml:6, right.yaml:7)",
        "  halfOpen.sample: 2 failures of 4 probes reopen  (right.yaml:8)",
        "  consistency: at most 2 s old  (right.yaml:9)",
        "  openFor: 250 ms  (right.yaml:10)"
      ]
    })
    const json = await check("right.yaml", text, "--json")
    assert.deepInclude(JSON.parse(json.lines[0]!).services[1], {
      service: "hosts",
      policy: { capacity: 1000, idleTimeToLive: 60_000 }
    })
  })

  it("prints every problem with its line, and ends with 1", async () => {
    const { code, lines } = await check(
      "wrong.yaml",
      "circuit_breaker:\n  services:\n    a: { timout: 1 }\n    b: { open_for: -1 }\n"
    )
    assert.strictEqual(code, 1)
    assert.match(lines[0]!, /^wrong\.yaml:3: .*did you mean timeout/)
    assert.match(lines[1]!, /^wrong\.yaml:4: circuit_breaker\.services\.b\.open_for must be /)
    assert.lengthOf(lines, 2)
  })
})

describe("what is said to a person", () => {
  it("a misspelt command is answered on one line with the nearest", async () => {
    const { code, stderr } = await run(["shwo", "payments"])
    assert.strictEqual(code, 2)
    assert.strictEqual(
      stderr,
      `Unknown subcommand "shwo" for "effect-breaker". Did you mean this? show\nSee effect-breaker --help\n`
    )
  })

  it("show says beside the policy whether a given one is the same", async () => {
    const policy = join(directory, "policy.yaml")
    await writeFile(policy, "openFor: 10 seconds\n")
    const { stdout } = await run(["show", "payments", "--policy", policy])
    assert.match(stdout, /^ {2}policy +conformance last changed the state; the given policy is another, [0-9a-f]{16}$/m)
  })
})

describe("without a terminal", () => {
  it("watch prints a line of JSON for each change, until it is interrupted", async () => {
    const child = spawn(process.execPath, [BIN, "watch", "--json"], {
      env: { ...process.env, CIRCUIT_BREAKER_STORAGE: target.url },
      stdio: ["ignore", "pipe", "inherit"]
    })
    let printed = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => printed += text)
    const closed = once(child, "close")
    // What was changed before it looked is no change to it.
    await until("the change is printed", async () => {
      const { code } = await run(["override", "payments", "--mode", "disabled", "--reason", "a drill", "--yes"])
      assert.strictEqual(code, 0)
      return printed.includes("\n")
    })
    child.kill("SIGINT")
    assert.deepStrictEqual(await closed, [130, null])
    const change: Cli.Output.Change = JSON.parse(printed.split("\n")[0]!)
    assert.deepInclude(change, { circuit: "payments", override: "disabled", reason: "a drill" })
    assert.strictEqual((await run(["clear", "payments", "--yes"])).code, 0)
  })

  it("show says whether a policy is the one that last changed the circuit", async () => {
    const policy = join(directory, "policy.json")
    await writeFile(policy, JSON.stringify({ openFor: 1000 }))
    const { stdout } = await run(["show", "payments", "--policy", policy, "--json"])
    const shown: Cli.Output.Show = JSON.parse(stdout)
    assert.isFalse(shown.policy?.matches ?? false)
    assert.match(shown.policy?.fingerprint ?? "", /^[0-9a-f]{16}$/)
  })
})

describe("the command line", () => {
  it("refuses a storage that cannot be meant, and creates none", async () => {
    const nowhere = join(directory, "nowhere.db")
    const urls = {
      "memory:": /Circuits in memory are another process's/,
      "": /The URL of a storage begins with redis:/,
      "http://x": /The URL of a storage begins with redis:/,
      [`sqlite:${nowhere}`]: /There is no file ".*nowhere.db": check the path/,
      [`file:${nowhere}`]: /There is no directory ".*nowhere.db"/,
      "postgres://u:hunter2@h:0x/d": /must have a port from 1 to 65535/,
      "redis://u:hunter2@h:99999999": /a Redis URL must be/
    }
    for (const [url, message] of Object.entries(urls)) {
      const { code, stderr, stdout } = await run(["ls", "--storage", url])
      assert.deepStrictEqual([code, stdout], [2, ""], url)
      assert.match(stderr, message)
      assert.notInclude(stderr, "hunter2")
    }
    assert.isFalse(existsSync(nowhere))
  })

  it("reads the variables that services read", async () => {
    const none = { CIRCUIT_BREAKER_STORAGE: "" }
    const bare = await cli({ url: "" }, ["ls"], { ...none })
    assert.strictEqual(bare.code, 2)
    const list = (env: Readonly<Record<string, string>>) => {
      const child = spawn(
        process.execPath,
        [BIN, "ls", "payments", "--json"],
        { env: { PATH: process.env["PATH"], ...env }, stdio: ["ignore", "pipe", "pipe"] }
      )
      let [stdout, stderr] = ["", ""]
      child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text)
      child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
      return once(child, "close").then(([code]) => ({ code: code as number, stdout, stderr }))
    }
    const sqlite = await list({ CIRCUIT_BREAKER_PERSISTENCE: "sqlite", SQLITE_FILE: file })
    assert.deepStrictEqual([sqlite.code, JSON.parse(sqlite.stdout).circuits.length], [0, 1])
    const memory = await list({ CIRCUIT_BREAKER_PERSISTENCE: "memory" })
    assert.deepStrictEqual([memory.code, memory.stdout], [2, ""])
    const missing = await list({ CIRCUIT_BREAKER_PERSISTENCE: "postgres" })
    assert.match(missing.stderr, /DATABASE_URL is not set/)
    const redis = await list({ CIRCUIT_BREAKER_PERSISTENCE: "redis" })
    assert.strictEqual(redis.stderr, "REDIS_URL or REDIS_HOST must be set, and neither is\n")
    const port = await list({ CIRCUIT_BREAKER_PERSISTENCE: "redis", REDIS_HOST: "localhost", REDIS_PORT: "no" })
    assert.match(port.stderr, /^REDIS_PORT: Expected .*number\n$/)
    const unnamed = await list({})
    assert.match(unnamed.stderr, /No storage is named: give --storage URL or set CIRCUIT_BREAKER_STORAGE/)
  })

  it("never shows a password, and says that the storage did not answer", async () => {
    for (
      const url of [
        "redis://u:hunter2@127.0.0.1:1",
        "postgres://u:hunter2@127.0.0.1:1/d",
        "mysql://u:hunter2@127.0.0.1:1/d"
      ]
    ) {
      const { code, stderr, stdout } = await run([
        "ls",
        "--storage",
        url,
        "--deadline",
        "2s",
        "--log-level",
        "all"
      ])
      assert.deepStrictEqual([code, stdout], [3, ""], stderr)
      assert.notInclude(stderr, "hunter2")
      assert.match(stderr, /Storage (unavailable|deadline) on/)
    }
  })

  for (const missing of ["ioredis", "@effect/platform-node"]) {
    it(`names ${missing} where it is missing with the command that installs it`, async () => {
      const env = await before(
        `without-${missing.replaceAll("/", "-")}`,
        `
import { registerHooks } from "node:module"
registerHooks({
  resolve: (specifier, context, next) => {
    if (specifier.startsWith("${missing}")) throw new Error("Cannot find package '${missing}'")
    return next(specifier, context)
  }
})`
      )
      const { code, stderr } = await cli(target, ["ls", "--storage", "redis://localhost"], env)
      assert.strictEqual(code, 2)
      assert.match(stderr, new RegExp(`^The package ${missing} could not be loaded: run "npm install ${missing}"`))
    })
  }

  it("loads what the command and its storage need, and nothing else", async () => {
    const list = join(directory, "modules")
    const env = await before(
      "loaded",
      `
import { appendFileSync } from "node:fs"
import { registerHooks } from "node:module"
registerHooks({
  load: (url, context, next) => {
    appendFileSync(${JSON.stringify(list)}, url + "\\n")
    return next(url, context)
  }
})`
    )
    const modulesOf = async (args: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
      await writeFile(list, "")
      assert.strictEqual((await cli(target, args, env)).code, 0)
      return (await readFile(list, "utf8")).split("\n")
    }
    const has = (modules: ReadonlyArray<string>, what: RegExp) => modules.some((url) => what.test(url))
    const ls = await modulesOf(["ls", "payments"])
    assert.isTrue(has(ls, /src\/layers\/Sqlite.ts/))
    assert.isFalse(has(ls, /ioredis|mysql2|sql-pg|node_modules\/pg|undici/))
    assert.isFalse(has(ls, /src\/layers\/(Postgres|Mysql|Redis|IoRedis|File)|src\/redis\//))
    assert.isFalse(
      has(
        ls,
        /src\/(dashboard|Breaker\.ts|Storage\/(Export|Migration|Health)|cli\/internal\/(Watch|WhatIf|Act|Archive|Migrate))/
      )
    )
    const show = await modulesOf(["show", "payments"])
    assert.isFalse(has(show, /src\/cli\/internal\/(Watch|WhatIf|Act|Archive|Migrate|Ls)/))
  })

  it("ends quietly when its reader has gone", async () => {
    const child = spawn("sh", ["-c", `"${process.execPath}" "${BIN}" ls --storage "${many.url}" | head -1`], {
      stdio: ["ignore", "pipe", "pipe"]
    })
    let [stdout, stderr] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text)
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
    await once(child, "close")
    assert.match(stdout, /^CIRCUIT +STATE/)
    assert.strictEqual(stderr, "")
  })

  it("lists more circuits than it sorts, each once", async () => {
    const { stdout } = await run(["ls", "--storage", many.url])
    const names = stdout.trimEnd().split("\n").slice(1).map((line) => line.split(/ {2,}/)[0]!)
    assert.deepStrictEqual([names.length, new Set(names).size], [3001, 3001])
    const { stdout: json } = await run(["ls", "--storage", many.url, "--json"])
    const { circuits } = JSON.parse(json) as { readonly circuits: ReadonlyArray<unknown> }
    assert.strictEqual(circuits.length, 3001)
  })

  it("prints completions, its version and help, and says where to find help", async () => {
    for (const language of ["bash", "zsh", "fish", "powershell"]) {
      const { code, stdout } = await run(["--completions", language])
      assert.strictEqual(code, 0)
      assert.include(stdout, "half-open")
    }
    assert.match((await run(["--version"])).stdout, /effect-breaker v\d/)
    assert.include((await run(["override", "--help"])).stdout, "--reason")
    const unknown = await run(["lst"])
    assert.deepStrictEqual([unknown.code, unknown.stdout], [2, ""])
    assert.include(unknown.stderr, "See effect-breaker --help")
    const bad = await run(["override", "payments", "--mode", "open", "--reason", "x"])
    assert.strictEqual(bad.code, 2)
    const line = await run(["override", "payments", "--mode", "disabled", "--reason", "a\nb", "--yes"])
    assert.strictEqual(line.code, 2)
    assert.include(line.stderr, "reason must be")
  })

  it.live("runs over a storage of the program's own", () =>
    Effect.gen(function*() {
      const { exitCodes, run } = Cli
      assert.strictEqual(yield* run({ storage: memoryLayer, argv: ["ls", "--json"] }), exitCodes.ok)
      assert.strictEqual(yield* run({ storage: memoryLayer, argv: ["show", "nobody"] }), exitCodes.no)
      assert.strictEqual(yield* run({ storage: memoryLayer, argv: ["reset", "nobody", "--yes"] }), exitCodes.refused)
    }))
})
