/** What the command line does on every storage, with circuits that a real service makes. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { Output } from "../../src/cli/Output.ts"
import { Child } from "./children.ts"
import { until } from "./machine.ts"
import type { Replies, Requests } from "./service.ts"
import { cli, Pty, type Target } from "./terminal.ts"

export interface CommandLinePlace {
  readonly name: string
  readonly target: () => Promise<Target>
  /** Whether the storage knows how many instances have reported. */
  readonly countsInstances: boolean
}

const service = ({ prefix = "", url }: Target) =>
  Child.start<Requests, Replies>("a service", new URL("./service.ts", import.meta.url), [url, prefix])

const json = async <A>(target: Target, args: ReadonlyArray<string>): Promise<A> => {
  const { code, stderr, stdout } = await cli(target, [...args, "--json"])
  assert.strictEqual(code, 0, stderr)
  return JSON.parse(stdout) as A
}

/** An argument has no NUL. */
const NASTY = ["n".repeat(10_000), "__proto__", "../../a", "a\r\nb", "<script>alert(1)</script>", "--yes"]

/** Characters that a terminal could obey, but for the ends of lines. */
const CONTROLS = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u

const isTame = (output: string): boolean => output.split("\n").every((line) => !CONTROLS.test(line))

export const commandLine = (places: ReadonlyArray<CommandLinePlace>) => {
  describe.each(places)("on $name", ({ countsInstances, target: makeTarget }) => {
    let target: Target
    let child: Awaited<ReturnType<typeof service>>

    beforeAll(async () => {
      target = await makeTarget()
      child = await service(target)
      assert.strictEqual(await child.request("fail", { circuit: "payments", times: 3 }), "Open")
      await child.request("succeed", { circuit: "users", times: 2 })
      await until("the storage has both circuits", async () => {
        const { circuits } = await json<Output.Ls>(target, ["ls"])
        return circuits.some(({ state }) => state === "open") && circuits.length === 2
      })
    })
    afterAll(() => child.stop())

    it("ls lists circuits that another process made, and answers for scripts by its exit code", async () => {
      const { code, stdout } = await cli(target, ["ls"])
      assert.strictEqual(code, 0)
      const [header, first, second] = stdout.split("\n")
      assert.match(header!, /^CIRCUIT +STATE +OVERRIDE +LEFT +SINCE +OPENED +WHY$/)
      assert.match(first!, /^payments +open +.*3 consecutive failures/)
      assert.match(second!, /^users +closed/)
      assert.strictEqual((await cli(target, ["ls", "--fail-on", "open"])).code, 1)
      assert.strictEqual((await cli(target, ["ls", "users", "--fail-on", "open,forced-open"])).code, 0)
      const { circuits } = await json<Output.Ls>(target, ["ls", "--state", "open"])
      assert.deepStrictEqual(circuits.map(({ circuit }) => circuit), ["payments"])
    })

    it("show and history tell why, with evidence, and until when", async () => {
      const shown = await json<Output.Show>(target, ["show", "payments"])
      assert.deepInclude(shown, { circuit: "payments", state: "open", why: "3 consecutive failures", openings: 1 })
      assert.isAbove(shown.remaining!, 0)
      assert.isNotNull(shown.evidence)
      assert.strictEqual(shown.lifetime.times_opened, 1)
      assert.strictEqual(shown.instances, countsInstances ? 1 : null)
      const { stdout } = await cli(target, ["show", "payments"])
      assert.strictEqual(/^ {2}instances 1 reported within the idle time$/m.test(stdout), countsInstances)
      for (const part of [/state +open for .*first opening/, /next +a probe in/, /opened once/]) {
        assert.match(stdout, part)
      }
      const { changes } = await json<Output.History>(target, ["history", "payments"])
      assert.deepStrictEqual(changes.map(({ from, to }) => [from, to]), [["closed", "open"]])
      const missing = await cli(target, ["show", "paymnets"])
      assert.deepStrictEqual([missing.code, missing.stdout], [1, ""])
      assert.include(missing.stderr, "nobody uses a circuit of this name")
    })

    it("acts with --yes, in the whole fleet and in the history, and not without", async () => {
      const args = ["override", "users", "--mode", "forced-open", "--reason", "it moves", "--for", "10m"]
      const asked = await cli(target, args)
      assert.deepStrictEqual([asked.code, asked.stdout], [4, ""])
      assert.include(asked.stderr, "give --yes to force open \"users\" for 10m")
      const acted = await json<Output.Acted>(target, [...args, "--yes"])
      assert.deepStrictEqual([acted.done, acted.before.override], [true, null])
      assert.deepInclude(acted.after.override, { mode: "forced_open", reason: "it moves", actor: "ann" })
      await until("the service rejects", async () => {
        const { lifetime } = await json<Output.Show>(target, ["show", "users"])
        await child.request("succeed", { circuit: "users", times: 1 })
        return lifetime.rejected > 0
      })
      const cleared = await cli(target, ["clear", "users", "--yes", "--actor", "bo"])
      assert.match(cleared.stdout, /^"users": closed, was forced-open by ann/)
      const { changes } = await json<Output.History>(target, ["history", "users"])
      assert.deepStrictEqual(changes.map(({ actor }) => actor), ["bo", "ann"])
      const halfOpen = await json<Output.Acted>(target, ["half-open", "users", "--yes"])
      assert.strictEqual(halfOpen.after.state, "half_open")
      const reset = await json<Output.Acted>(target, ["reset", "users", "--yes"])
      assert.deepStrictEqual([reset.after.state, reset.after.openings], ["closed", 0])
      const misspelt = await cli(target, ["reset", "usres", "--yes"])
      assert.deepStrictEqual([misspelt.code, misspelt.stdout], [4, ""])
      const removed = await json<Output.Acted>(target, ["remove", "users", "--yes"])
      assert.strictEqual(removed.after.lifetime.success, 0)
    })

    it("asks on a terminal, shows the circuit as it stands, and does nothing on a no", async () => {
      const args = ["override", "payments", "--mode", "disabled", "--reason", "a drill"]
      const no = new Pty(target, args)
      await no.shows(/payments[\s\S]*3 consecutive failures[\s\S]*Disable "payments" until it is cleared\?/)
      no.type("n")
      assert.strictEqual(await no.end(), 4)
      assert.include(no.screen, "Nothing was done")
      assert.isNull((await json<Output.Show>(target, ["show", "payments"])).override)
      const yes = new Pty(target, args)
      await yes.shows(/Disable "payments"/)
      yes.type("y")
      assert.strictEqual(await yes.end(), 0)
      assert.match(yes.screen, /"payments": disabled by ann until cleared, was open/)
      assert.strictEqual((await cli(target, ["clear", "payments", "--yes"])).code, 0)
    })

    it("watch fills the terminal, follows the service, scrolls, and leaves the terminal as it was", async () => {
      const pty = new Pty(target, ["watch"], { columns: 100, rows: 12 })
      try {
        await pty.shows(/CIRCUIT +STATE[\s\S]*payments +open/)
        assert.strictEqual(await child.request("fail", { circuit: "search", times: 3 }), "Open")
        await pty.shows(/search +open/)
        assert.isTrue(pty.screen.split("\n").every((line) => line.length <= 101))
        pty.type("q")
        assert.strictEqual(await pty.end(), 0)
        assert.isTrue(pty.output.includes("\u001b[?1049h") && pty.output.trimEnd().endsWith("\u001b[?1049l"))
      } finally {
        pty.stop()
      }
    })

    it("exports, and imports what it exported, with a dry run before", async () => {
      const { stdout } = await cli(target, ["export"])
      assert.include(JSON.parse(stdout), { version: 1 })
      const file = `${process.env["TMPDIR"] ?? "/tmp"}/effect-breaker-${process.pid}-${
        Math.random().toString(36).slice(2)
      }.json`
      const out = await cli(target, ["export", "--out", file])
      assert.deepStrictEqual([out.code, out.stdout], [0, ""])
      await cli(target, ["override", "payments", "--mode", "disabled", "--reason", "x", "--yes"])
      const planned = await cli(target, ["import", file, "--dry-run"])
      assert.match(planned.stdout, /WouldImport "payments": override/)
      assert.strictEqual((await cli(target, ["import", file])).code, 4)
      const imported = await cli(target, ["import", file, "--yes", "--prefix", "pay"])
      assert.match(imported.stdout, /1 Imported/)
      assert.isNull((await json<Output.Show>(target, ["show", "payments"])).override)
    })

    it("health writes a record of its own and reads it back", async () => {
      const { backend, healthy, verified } = await json<Output.Health>(target, ["health"])
      assert.deepStrictEqual([healthy, verified], [true, true])
      assert.isNotEmpty(backend)
    })

    it("hostile names do no harm on the terminal and in JSON", async () => {
      for (const name of NASTY) {
        const made = await cli(target, [
          "override",
          "--mode",
          "metrics-only",
          "--reason",
          "<b>\"it's\" ${x}",
          "--yes",
          "--",
          name
        ])
        assert.strictEqual(made.code, 0, `${JSON.stringify(name.slice(0, 20))}: ${made.stderr}`)
        assert.isTrue(isTame(made.stdout))
      }
      await child.request("succeed", { circuit: "\u001b[2J\u009b31m\u202eevil\r\n", times: 1 })
      await until(
        "the storage has the circuit",
        async () =>
          (await json<Output.Ls>(target, ["ls"])).circuits.some(({ circuit }) => circuit.startsWith("\u001b[2J"))
      )
      const listed = await cli(target, ["ls"])
      assert.isTrue(isTame(listed.stdout))
      assert.isTrue(listed.stdout.split("\n").every((line) => line.length < 300))
      const raw = await cli(target, ["ls", "--json"])
      assert.isTrue(isTame(raw.stdout))
      const { circuits } = JSON.parse(raw.stdout) as Output.Ls
      assert.include(circuits.map(({ circuit }) => circuit), "\u001b[2J\u009b31m\u202eevil\r\n")
      assert.include(circuits.map(({ circuit }) => circuit), "n".repeat(10_000))
      const shown = await cli(target, ["show", "n".repeat(10_000)])
      assert.isBelow(shown.stdout.length, 3000)
      const pty = new Pty(target, ["show", "\u001b[2J\u009b31m\u202eevil\r\n"])
      assert.strictEqual(await pty.end(), 0)
      assert.include(pty.screen, "\\u001b[2J\\u009b31m\\u202eevil\\u000d\\u000a")
    })
  })
}
