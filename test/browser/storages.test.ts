/** The page that the command `dashboard` serves, on each storage, with circuits that a real service makes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { once } from "node:events"
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { afterAll } from "vitest"
import { freshPrefix } from "../sql/databases.ts"
import { HOSTILE, service } from "../support/commandLine.ts"
import { HANG_MILLIS } from "../support/machine.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { spawnCli, type Target } from "../support/terminal.ts"
import { browser, open } from "./browser.ts"

const directory = await temporaryDirectory()
afterAll(() => rm(directory, { recursive: true, force: true }))
const files = join(directory, "circuits")
await mkdir(files)

const targets: Readonly<Record<string, Target>> = {
  Redis: { url: serverUrl("redis"), prefix: freshPrefix() },
  Postgres: { url: serverUrl("postgres"), prefix: freshPrefix() },
  MariaDB: { url: serverUrl("mysql"), prefix: freshPrefix() },
  SQLite: { url: `sqlite:${join(directory, "circuits.db")}` },
  files: { url: `file:${files}` }
}

const does = <A>(what: () => Promise<A>) => Effect.promise(what)

/** The command `dashboard` in a process of its own, and the address of its page. */
const dashboard = (target: Target) =>
  Effect.acquireRelease(
    Effect.sync(() => spawnCli(target, ["dashboard", "--port", "0", "--json"])),
    (child) =>
      Effect.promise(async () => {
        const closed = once(child, "close")
        child.kill()
        await closed
      })
  ).pipe(
    Effect.flatMap((child) => does(() => once(child.stdout.setEncoding("utf8"), "data"))),
    Effect.map(([line]) => (JSON.parse(line as string) as { readonly url: string }).url)
  )

describe("the page of the command line's dashboard", () => {
  for (const [name, target] of Object.entries(targets)) {
    it.live(`shows what another process does, and names of every kind as text: ${name}`, () =>
      Effect.gen(function*() {
        const made = yield* Effect.acquireRelease(does(() => service(target)), (child) => does(() => child.stop()))
        for (const circuit of HOSTILE) yield* does(() => made.request("fail", { circuit, times: 3 }))
        const { faults, page } = yield* open(yield* browser, yield* dashboard(target))
        page.setDefaultTimeout(HANG_MILLIS)
        const shown = page.locator("#attention-list")
        yield* does(() => page.getByText(`${HOSTILE.length} open`).waitFor())
        yield* does(() => made.request("fail", { circuit: "payments", times: 3 }))
        yield* does(() => shown.getByText("payments").waitFor())
        const text = yield* does(() => shown.innerText())
        for (const part of ["\\u{1b}[2J\\u{1b}]0;taken\\u{7}\\u{9b}31m\\u{202e}evil", "<img src=x onerror=alert(1)>"]) {
          assert.include(text, part)
        }
        assert.strictEqual(yield* does(() => page.title()), "Circuits")
        assert.strictEqual(yield* does(() => page.locator("main img, main script").count()), 0)
        // A name of 10,000 characters has its record, too.
        yield* does(() => shown.locator(".card", { hasText: "n".repeat(100) }).getByRole("button").click())
        yield* does(() => page.locator("#history li").first().waitFor())
        assert.include(yield* does(() => page.locator("#history").innerText()), "3 consecutive failures")
        assert.deepStrictEqual(faults(), [])
      }).pipe(Effect.scoped))
  }
})
