/** The interactive page, and with it the library in a browser. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HANG_MILLIS } from "../support/machine.ts"
import { browser, open } from "./browser.ts"

const does = <A>(what: () => Promise<A>) => Effect.promise(what)

describe("the interactive page", () => {
  it.live("runs breakers in a browser: they open together, decide alone without a storage, and close again", () =>
    Effect.gen(function*() {
      const { faults, page } = yield* open(
        yield* browser,
        new URL("../../docs/playground/index.html", import.meta.url).href
      )
      page.setDefaultTimeout(HANG_MILLIS)
      const instances = ["A", "B", "C"].map((name) => page.locator(`#instance-${name}`))
      const all = (text: string) => does(() => Promise.all(instances.map((it) => it.getByText(text).first().waitFor())))
      const set = (name: string, value: number) => does(() => page.locator(`#${name}`).fill(String(value)))
      yield* set("calls", 20)
      yield* all("Closed")
      yield* set("failing", 100)
      yield* all("Open")
      yield* does(() => page.locator("#storage .Open").waitFor())
      yield* does(() => page.getByRole("button", { name: "Kill the storage" }).click())
      yield* all("it decides alone")
      yield* does(() => page.getByRole("button", { name: "Bring the storage back" }).click())
      yield* all("of the fleet it knows: Open")
      yield* does(() => page.getByRole("button", { name: "Stop it" }).first().click())
      yield* does(() => page.locator("#instances").getByText("stands still").waitFor())
      yield* does(() => page.getByRole("button", { name: "Let it run" }).click())
      yield* set("failing", 0)
      yield* does(() => page.locator("#storage .Closed").waitFor())
      yield* all("of the fleet it knows: Closed")
      assert.deepStrictEqual(faults(), [])
    }).pipe(Effect.scoped))
})
