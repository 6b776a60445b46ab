/** The interactive page, and with it the library in a browser. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HANG_MILLIS } from "../support/machine.ts"
import { browser, open } from "./browser.ts"

const does = <A>(what: () => Promise<A>) => Effect.promise(what)

const playground = Effect.gen(function*() {
  const { faults, page } = yield* open(
    yield* browser,
    new URL("../../docs/playground/index.html", import.meta.url).href
  )
  page.setDefaultTimeout(HANG_MILLIS)
  const instances = ["A", "B", "C"].map((name) => page.locator(`#instance-${name}`))
  return {
    faults,
    page,
    all: (text: string | RegExp) =>
      does(() => Promise.all(instances.map((it) => it.getByText(text).first().waitFor()))),
    set: (name: string, value: number) => does(() => page.locator(`#${name}`).fill(String(value))),
    choose: (name: string, value: string) => does(() => page.locator(`[name=${name}]`).selectOption(value))
  }
})

describe("the interactive page", () => {
  it.live("runs breakers in a browser: they open together, decide alone without a storage, and close again", () =>
    Effect.gen(function*() {
      const { all, faults, page, set } = yield* playground
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

  it.live("an upstream that takes less than it is asked for: a breaker opens, and throttling sheds in its place", () =>
    Effect.gen(function*() {
      const { all, choose, faults, page, set } = yield* playground
      const told = (text: string | RegExp) => does(() => page.locator("#told").getByText(text).first().waitFor())
      yield* set("calls", 20)
      yield* set("capacity", 20)
      yield* told(/Closed → Open: /)
      yield* choose("trip", "total")
      yield* choose("throttle", "1.25")
      yield* does(() => page.locator("#storage .Closed").waitFor())
      yield* all(/^sheds \d+ %/)
      assert.strictEqual(yield* does(() => page.locator("#storage .Closed").count()), 1)
      yield* set("capacity", 150)
      yield* told("sheds no more calls")
      assert.deepStrictEqual(faults(), [])
    }).pipe(Effect.scoped))
})
