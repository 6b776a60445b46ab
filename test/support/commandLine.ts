/** Each command of the command line on every storage, with circuits that a real service makes. */
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it, onTestFinished } from "vitest"
import * as Cli from "../../src/cli/Cli.ts"
import type { Output } from "../../src/cli/Output.ts"
import type { Update } from "../../src/dashboard/internal/Feed.ts"
import { Child } from "./children.ts"
import { until } from "./machine.ts"
import type { Replies, Requests } from "./service.ts"
import { Pty, Shell, spawnCli, type Target } from "./terminal.ts"

export interface CommandLinePlace {
  readonly name: string
  readonly target: () => Promise<Target>
  /** What `clean-up --yes` prints, and its exit code. */
  readonly cleaned: readonly [code: number, printed: RegExp]
}

export const CLEANED_SQL = [0, /^0 changes, 0 circuits, 0 instances\n$/] as const
export const CLEANED_REDIS = [0, /^0 keys\n$/] as const

/** A process with breakers on the storage. */
export const service = ({ prefix = "", url }: Target): Promise<Child<Requests, Replies>> =>
  Child.start("a service", new URL("./service.ts", import.meta.url), [url, prefix])

const NASTIEST = "\u001b[2J\u001b]0;taken\u0007\u009b31m\u202eevil\r\n"

/** Names that a terminal could obey, that are markup or paths, or that are long. */
export const HOSTILE = [
  NASTIEST,
  "<img src=x onerror=alert(1)>",
  "</script><script>document.title='taken'</script>",
  "../../a?x=1#y",
  "--yes",
  "__proto__",
  "nul\0",
  "n".repeat(10_000)
]

/** Characters that a terminal could obey, but for the ends of lines. */
const CONTROLS = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u

const isTame = (output: string): boolean => output.split("\n").every((line) => !CONTROLS.test(line))

/** The commands that there are, with those below others: `migrate phase`. */
const leaves = ({ name, subcommands }: typeof Cli.command.subcommands[number]["commands"][number]): Array<string> =>
  subcommands.length === 0
    ? [name]
    : subcommands.flatMap(({ commands }) => commands.flatMap(leaves).map((leaf) => `${name} ${leaf}`))

/** What a test needs on each storage. */
class World {
  readonly target: Target
  readonly service: Child<Requests, Replies>
  readonly directory: string
  readonly #shell: Shell
  readonly #ran = new Set<string>()

  private constructor(target: Target, service: Child<Requests, Replies>, shell: Shell, directory: string) {
    this.target = target
    this.service = service
    this.directory = directory
    this.#shell = shell
  }

  static async start(target: Target): Promise<World> {
    const [child, shell, directory] = await Promise.all([
      service(target),
      Shell.start(target),
      mkdtemp(join(tmpdir(), "effect-breaker-command-line-"))
    ])
    return new World(target, child, shell, directory)
  }

  /** Runs a command without a terminal. */
  run(...args: ReadonlyArray<string>) {
    this.#note(args)
    return this.#shell.run(...args)
  }

  async json<A>(...args: ReadonlyArray<string>): Promise<A> {
    const { code, stderr, stdout } = await this.run(...args, "--json")
    assert.strictEqual(code, 0, stderr)
    return JSON.parse(stdout) as A
  }

  /** Runs a command in a terminal. */
  terminal(...args: ReadonlyArray<string>): Pty {
    this.#note(args)
    const pty = new Pty(this.target, args, { columns: 100, rows: 16 })
    onTestFinished(() => pty.stop())
    return pty
  }

  /** Starts a command that runs until it is interrupted. */
  spawn(args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) {
    this.#note(args)
    const child = spawnCli(this.target, args, env)
    onTestFinished(() => void child.kill())
    return child
  }

  #note(args: ReadonlyArray<string>): void {
    this.#ran.add(args[0]!).add(args.slice(0, 2).join(" "))
  }

  hasRun(command: string): boolean {
    return this.#ran.has(command)
  }

  async stop(): Promise<void> {
    await Promise.all([this.service.stop(), this.#shell.stop()])
    await rm(this.directory, { recursive: true, force: true })
  }
}

export const commandLine = (places: ReadonlyArray<CommandLinePlace>) => {
  describe.each(places)("on $name", ({ cleaned, target }) => {
    let world: World

    const names = async () => (await world.json<Output.Ls>("ls")).circuits.map(({ circuit }) => circuit)

    beforeAll(async () => {
      world = await World.start(await target())
      assert.strictEqual(await world.service.request("fail", { circuit: "payments", times: 3 }), "Open")
      for (const circuit of ["users", ...HOSTILE]) await world.service.request("succeed", { circuit, times: 2 })
      await until("the storage has all circuits, and the open one as open", async () => {
        const { circuits } = await world.json<Output.Ls>("ls")
        return circuits.length === HOSTILE.length + 2 && circuits.some(({ state }) => state === "open")
      })
    })
    afterAll(() => world.stop())

    it("ls lists circuits that another process made, and answers for scripts by its exit code", async () => {
      const { code, stdout } = await world.run("ls")
      assert.strictEqual(code, 0)
      const [header, first] = stdout.split("\n")
      assert.match(header!, /^CIRCUIT +STATE +OVERRIDE +LEFT +SINCE +OPENED +WHY$/)
      assert.match(first!, /^payments +open +.*3 consecutive failures/)
      assert.match(stdout, /^users +closed/m)
      assert.strictEqual((await world.run("ls", "--fail-on", "open")).code, 1)
      assert.strictEqual((await world.run("ls", "users", "--fail-on", "open,forced-open")).code, 0)
      const { circuits } = await world.json<Output.Ls>("ls", "--state", "open")
      assert.deepStrictEqual(circuits.map(({ circuit }) => circuit), ["payments"])
    })

    it("show and history tell why, with evidence, and until when", async () => {
      const shown = await world.json<Output.Show>("show", "payments")
      assert.deepInclude(shown, { circuit: "payments", state: "open", why: "3 consecutive failures", openings: 1 })
      assert.isAbove(shown.remaining!, 0)
      assert.isNotNull(shown.evidence)
      assert.strictEqual(shown.lifetime.times_opened, 1)
      assert.strictEqual(shown.instances, 1)
      const { stdout } = await world.run("show", "payments")
      const parts = [
        /state +open for .*first opening/,
        /next +a probe in/,
        /opened once/,
        /evidence +(the whole fleet: 3 failures in a row|instance \S+ alone)$/m,
        /instances at most 1 reported within/
      ]
      for (const part of parts) assert.match(stdout, part)
      const { changes } = await world.json<Output.History>("history", "payments")
      assert.deepStrictEqual(changes.map(({ from, to }) => [from, to]), [["closed", "open"]])
      const missing = await world.run("show", "paymnets")
      assert.deepStrictEqual([missing.code, missing.stdout], [1, ""])
      assert.include(missing.stderr, "nobody uses a circuit of this name")
    })

    it("acts with --yes, in the whole fleet and in the history, and not without", async () => {
      const args = ["override", "users", "--mode", "forced-open", "--reason", "it moves", "--for", "10m"]
      const asked = await world.run(...args)
      assert.deepStrictEqual([asked.code, asked.stdout], [4, ""])
      assert.include(asked.stderr, "give --yes to force open \"users\" for 10m")
      const acted = await world.json<Output.Acted>(...args, "--yes")
      assert.deepStrictEqual([acted.done, acted.before.override], [true, null])
      assert.deepInclude(acted.after.override, { mode: "forced_open", reason: "it moves", actor: "ann" })
      await until("the service rejects", async () => {
        const { lifetime } = await world.json<Output.Show>("show", "users")
        await world.service.request("succeed", { circuit: "users", times: 1 })
        return lifetime.rejected > 0
      })
      const cleared = await world.run("clear", "users", "--yes", "--actor", "bo")
      assert.match(cleared.stdout, /^"users": closed, was forced-open by ann with 9m \d+s left$/m)
      const { changes } = await world.json<Output.History>("history", "users")
      assert.deepStrictEqual(changes.map(({ actor }) => actor), ["bo", "ann"])
      const halfOpen = await world.json<Output.Acted>("half-open", "users", "--yes")
      assert.strictEqual(halfOpen.after.state, "half_open")
      const reset = await world.json<Output.Acted>("reset", "users", "--yes")
      assert.deepStrictEqual([reset.after.state, reset.after.openings], ["closed", 0])
      const misspelt = await world.run("reset", "usres", "--yes")
      assert.deepStrictEqual([misspelt.code, misspelt.stdout], [4, ""])
      const removed = await world.json<Output.Acted>("remove", "users", "--yes")
      assert.strictEqual(removed.after.lifetime.success, 0)
    })

    it("asks on a terminal, shows the circuit as it stands, and does nothing on a no", async () => {
      const args = ["override", "payments", "--mode", "disabled", "--reason", "a drill"]
      const no = world.terminal(...args)
      await no.shows(/payments[\s\S]*3 consecutive failures[\s\S]*Disable "payments" until it is cleared\?/)
      no.type("n")
      assert.strictEqual(await no.end(), 4)
      assert.include(no.screen, "Nothing was done")
      assert.isNull((await world.json<Output.Show>("show", "payments")).override)
      const yes = world.terminal(...args)
      await yes.shows(/Disable "payments"/)
      yes.type("y")
      assert.strictEqual(await yes.end(), 0)
      assert.match(yes.screen, /"payments": disabled by ann until cleared, was open/)
      assert.strictEqual((await world.run("clear", "payments", "--yes")).code, 0)
    })

    it("watch fills the terminal, follows the service, scrolls, and leaves the terminal as it was", async () => {
      const pty = world.terminal("watch")
      await pty.shows(/CIRCUIT +STATE[\s\S]*payments +open/)
      assert.strictEqual(await world.service.request("fail", { circuit: "search", times: 3 }), "Open")
      await pty.shows(/search +open/)
      const lines = pty.screen.split(/\r*\n/)
      assert.isAtMost(Math.max(...lines.map((line) => line.length)), 100)
      assert.isFalse(lines.some((line) => CONTROLS.test(line)))
      assert.include(pty.screen, "\\u001b[2J")
      pty.type("q")
      assert.strictEqual(await pty.end(), 0)
      assert.isTrue(pty.output.includes("\u001b[?1049h") && pty.output.trimEnd().endsWith("\u001b[?1049l"))
    })

    it("exports, and imports what it exported, with a dry run before", async () => {
      const { stdout } = await world.run("export")
      assert.include(JSON.parse(stdout), { version: 1 })
      const file = join(world.directory, "circuits.json")
      const out = await world.run("export", "--out", file)
      assert.deepStrictEqual([out.code, out.stdout], [0, ""])
      await world.run("override", "payments", "--mode", "disabled", "--reason", "x", "--yes")
      const planned = await world.run("import", file, "--dry-run")
      assert.match(planned.stdout, /WouldImport "payments": override/)
      assert.strictEqual((await world.run("import", file)).code, 4)
      const imported = await world.run("import", file, "--yes", "--prefix", "pay")
      assert.match(imported.stdout, /1 Imported/)
      assert.isNull((await world.json<Output.Show>("show", "payments")).override)
    })

    it("health writes a record of its own and reads it back, and clean-up needs a yes", async () => {
      const { backend, healthy, verified } = await world.json<Output.Health>("health")
      assert.deepStrictEqual([healthy, verified], [true, true])
      assert.isNotEmpty(backend)
      const [code, printed] = cleaned
      assert.strictEqual((await world.run("clean-up")).code, code === 0 ? 4 : code)
      const done = await world.run("clean-up", "--yes")
      assert.strictEqual(done.code, code, done.stderr)
      assert.match(done.stdout + done.stderr, printed)
    })

    it("record prints what happens, and what-if replays it, and what the storage remembers", async () => {
      const policy = join(world.directory, "policy.json")
      await writeFile(policy, JSON.stringify({ trip: { _tag: "ConsecutiveFailures", failures: 2 } }))
      const child = world.spawn(["record", "--every", "100ms"])
      let [stdout, stderr] = ["", ""]
      child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text)
      child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
      const ended = once(child, "close")
      await until("it records", () => stderr.includes("Recording the circuits of"), () => child.exitCode === null)
      assert.strictEqual(await world.service.request("fail", { circuit: NASTIEST, times: 3 }), "Open")
      const recorded = () =>
        stdout.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Record<string, unknown>)
          .filter(({ circuit }) => circuit === NASTIEST)
      await until(
        "calls and the change are recorded",
        () =>
          recorded().some(({ failure }) => typeof failure === "number" && failure > 0) &&
          recorded().some(({ from, to }) => from === "closed" && to === "open"),
        () => child.exitCode === null
      )
      child.kill("SIGINT")
      assert.deepStrictEqual(await ended, [130, null])
      assert.isTrue(isTame(stdout))
      const from = join(world.directory, "recording.ndjson")
      await writeFile(from, stdout)
      const replayed = await world.run("what-if", NASTIEST, "--from", from, "--policy", policy)
      assert.deepStrictEqual([replayed.code, isTame(replayed.stdout)], [0, true], replayed.stderr)
      const { policies } = await world.json<{ readonly policies: ReadonlyArray<{ readonly openings: unknown }> }>(
        "what-if",
        "payments",
        "--policy",
        policy
      )
      assert.isNotEmpty(policies[0]!.openings)
    })

    it("migrate moves circuits to another storage, in phases", async () => {
      const migrate = (...args: ReadonlyArray<string>) => {
        const there = `sqlite:${join(world.directory, "there.db")}`
        return world.run("migrate", ...args, "--to", there, "--name", "to-sqlite")
      }
      assert.strictEqual((await migrate("backfill")).code, 4)
      const filled = await migrate("backfill", "--yes")
      assert.strictEqual(filled.code, 0, filled.stderr)
      const [, circuits, carried] = /^(\d+) circuits compared, (\d+) carried\n$/.exec(filled.stdout)!
      assert.deepStrictEqual([circuits, carried], Array(2).fill(String((await names()).length)))
      const compared = await migrate("compare")
      assert.deepStrictEqual([compared.code, compared.stdout], [0, `${circuits} circuits, 0 differ\n`])
      const tooFar = await migrate("switch", "read-new-write-new", "--yes")
      assert.strictEqual(tooFar.code, 4)
      assert.include(tooFar.stderr, "phases change one step at a time")
      const switched = await migrate("switch", "read-both-write-both", "--yes")
      assert.strictEqual(switched.stdout, "\"to-sqlite\": read-both-write-both, was read-old-write-both\n")
      assert.match((await migrate("phase")).stdout, /to sqlite: read-both-write-both/)
    })

    it("dashboard serves the page, each circuit and what changes, and acts for the bearer of the token", async () => {
      const child = world.spawn(["dashboard", "--port", "0", "--json"], {
        CIRCUIT_BREAKER_DASHBOARD_TOKEN: "act",
        CIRCUIT_BREAKER_DASHBOARD_READ_TOKEN: "read"
      })
      const [line] = await once(child.stdout.setEncoding("utf8"), "data") as [string]
      const { url } = JSON.parse(line) as { readonly url: string }
      const request = (path: string, token: string, init: RequestInit = {}) =>
        fetch(`${url}/api${path}`, {
          ...init,
          headers: { authorization: `Bearer ${token}`, "content-type": "application/json" }
        })
      const json = async <A>(path: string) => await (await request(path, "read")).json() as A
      const page = await fetch(url)
      assert.deepStrictEqual([page.status, (await fetch(`${url}/api/circuits`)).status], [200, 401])
      const { circuits } = await json<Output.Ls>("/circuits")
      assert.includeMembers(circuits.map(({ circuit }) => circuit), HOSTILE)
      for (const circuit of HOSTILE) {
        const path = `/circuits/${encodeURIComponent(circuit)}`
        assert.strictEqual((await json<Output.Circuit>(path)).circuit, circuit)
        assert.strictEqual((await json<Output.History>(`${path}/history`)).circuit, circuit)
      }

      const events = (await request("/events", "read")).body!.pipeThrough(new TextDecoderStream()).getReader()
      let text = ""
      const updated = async (holds: (update: Update) => boolean): Promise<void> => {
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const update: Update = JSON.parse(text.slice("data: ".length, end))
          text = text.slice(end + 2)
          if (holds(update)) return
        }
        const { done, value } = await events.read()
        assert.isFalse(done, "the events go on")
        text += value
        return updated(holds)
      }
      await updated(({ reset, storage }) => reset && storage.reachable)
      const body = JSON.stringify({ mode: "disabled", actor: "cy", reason: "incident 42", forMillis: 600_000 })
      const act = (token: string) => request("/circuits/payments/override", token, { method: "POST", body })
      assert.strictEqual((await act("read")).status, 403)
      assert.strictEqual((await act("act")).status, 200)
      await updated(({ circuits }) =>
        circuits.some(({ circuit, override }) => circuit === "payments" && override?.actor === "cy")
      )
      const { changes } = await world.json<Output.History>("history", "payments", "--limit", "1")
      assert.deepInclude(changes[0], { actor: "cy", override: "disabled", reason: "incident 42" })
      // A page that is open does not keep it.
      const closed = once(child, "close")
      child.kill("SIGINT")
      assert.deepStrictEqual(await closed, [130, null])
      await events.cancel().catch(() => {})
    })

    it("schema and config check need no storage, and harm none", async () => {
      const { stdout } = await world.run("schema", "postgres", "--storage-schema", "ops")
      assert.match(stdout, /CREATE SCHEMA IF NOT EXISTS "ops"/)
      const file = join(world.directory, "breakers.yaml")
      await writeFile(file, "circuit_breaker:\n  services:\n    payments: { failure_threshold: 5 }\n")
      assert.strictEqual((await world.run("config", "check", file)).code, 0)
    })

    it("hostile names do no harm on the terminal and in JSON", async () => {
      const archive = join(world.directory, "hostile.json")
      assert.strictEqual((await world.run("export", "--out", archive)).code, 0)
      const tame = async (...args: ReadonlyArray<string>) => {
        const { code, stderr, stdout } = await world.run(...args)
        const length = Math.max(...stdout.split("\n").map((line) => line.length))
        assert.deepStrictEqual([code, isTame(stdout), length < 2000], [0, true, true], `${args[0]}: ${stdout}${stderr}`)
      }
      const acting = ["--reason", "<b>\"it's\" ${x}", "--yes", "--"]
      for (const name of HOSTILE) {
        await tame("override", "--mode", "metrics-only", ...acting, name)
        await tame("show", "--", name)
        await tame("history", "--", name)
        const { stdout } = await world.run("show", "--json", "--", name)
        assert.deepStrictEqual([isTame(stdout), JSON.parse(stdout).circuit], [true, name])
      }
      for (const act of ["clear", "half-open", "reset", "remove"]) await tame(act, ...acting, NASTIEST)
      await tame("ls")
      await tame("import", archive, "--dry-run")
      const json = await world.run("ls", "--json")
      assert.isTrue(isTame(json.stdout))
      const { circuits } = JSON.parse(json.stdout) as Output.Ls
      assert.includeMembers(circuits.map(({ circuit }) => circuit), HOSTILE)
      const pty = world.terminal("show", NASTIEST)
      assert.strictEqual(await pty.end(), 0)
      assert.include(pty.screen, "\\u001b[2J\\u001b]0;taken\\u0007\\u009b31m\\u202eevil\\u000d\\u000a")
    })

    it("each command was run here", () => {
      const commands = Cli.command.subcommands.flatMap(({ commands }) => commands.flatMap(leaves))
      assert.isAbove(commands.length, 20)
      assert.deepStrictEqual(commands.filter((command) => !world.hasRun(command)), [])
    })
  })
}
