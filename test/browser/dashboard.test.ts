/** The dashboard as a person uses it, in a real browser, over a real Redis. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { readFile, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import { circuitOf, failures } from "../../src/conformance/Law.ts"
import { noDelta } from "../../src/core/Delta.ts"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { layerOn } from "../redis/support.ts"
import { Child } from "../support/children.ts"
import { HANG_MILLIS } from "../support/machine.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { serverUrl } from "../support/servers/shared.ts"
import { browser, open } from "./browser.ts"
import type { Replies, Requests } from "./instance.ts"

let count = 0
const freshPrefix = () => `browser:${process.pid}:${++count}:`

/** A dashboard on a free port of loopback, and its storage. */
const serve = (url: string, prefix: string, options?: Dashboard.Options) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(layerOn(IoRedis.fromUrl(url), { prefix }))
    const server = yield* Layer.build(
      HttpRouter.serve(Dashboard.layer(options), { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
        Layer.provide(Layer.succeedContext(context))
      )
    )
    const { address } = Context.get(server, HttpServer.HttpServer)
    assert("port" in address)
    return { storage: Context.get(context, Storage), url: `http://127.0.0.1:${address.port}/circuits` }
  })

const instance = (url: string, prefix: string) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      Child.start<Requests, Replies>("an instance", new URL("instance.ts", import.meta.url), [url, prefix])
    ),
    (child) => Effect.promise(() => child.stop())
  )

const does = <A>(what: () => Promise<A>) => Effect.promise(what)

/** A fleet as the docs show it. */
const scene = (storage: Storage) =>
  Effect.gen(function*() {
    const healthy = ["checkout", "orders", "search", "stock", "users"]
    for (const name of healthy) yield* circuitOf(storage, `shop/${name}`).report(failures(1))
    const payments = circuitOf(storage, "payments")
    yield* payments.trip(yield* payments.read, {
      why: { reason: "5 consecutive failures", evidence: { by: "fleet", streak: 5, totals: [] } }
    })
    const mail = circuitOf(storage, "mail")
    yield* mail.open()
    yield* mail.operate({ _tag: "HalfOpen" })
    yield* circuitOf(storage, "shop/stock").operate({
      _tag: "Override",
      kind: "ForcedOpen",
      reason: "the warehouse moves, incident 42",
      actor: "ann"
    })
  })

describe("the dashboard in a browser", () => {
  it.live("looks like its picture in the docs, which UPDATE=1 takes anew", () =>
    Effect.gen(function*() {
      const { storage, url } = yield* serve(serverUrl("redis"), freshPrefix(), { title: "Circuits of the shop" })
      yield* scene(storage)
      const { faults, page } = yield* open(yield* browser, url)
      page.setDefaultTimeout(HANG_MILLIS)
      yield* does(() => page.getByText("1 forced open, 1 open, 1 half-open, 4 closed").waitFor())
      yield* does(() => page.getByText("Last changes").waitFor())
      yield* does(() => page.setViewportSize({ width: 1100, height: 1100 }))
      const picture = yield* does(() => page.screenshot())
      const file = new URL("../../docs/images/dashboard.png", import.meta.url)
      if (process.env["UPDATE"] === "1") yield* does(() => writeFile(file, picture))
      // Fonts differ between machines, so only the size is compared.
      const sizeOf = (png: Buffer) => [png.readUInt32BE(16), png.readUInt32BE(20)]
      assert.deepStrictEqual(sizeOf(yield* does(() => readFile(file))), sizeOf(picture))
      assert.deepStrictEqual(faults(), [])
    }).pipe(Effect.scoped))

  it.live("shows a circuit that another process opens, and what was done to it here arrives there", () =>
    Effect.gen(function*() {
      const prefix = freshPrefix()
      const { url } = yield* serve(serverUrl("redis"), prefix, { token: Redacted.make("secret") })
      const { faults, page } = yield* open(yield* browser, url)
      page.setDefaultTimeout(HANG_MILLIS)
      yield* does(() => page.getByText("Every circuit is closed.").waitFor())
      const other = yield* instance(serverUrl("redis"), prefix)
      yield* does(() => other.request("call", { key: "checkout", succeeds: false }))
      const card = page.locator("#attention-list .card", { hasText: "shop/checkout" })
      yield* does(() => card.getByText("Open", { exact: true }).waitFor())
      assert.include(yield* does(() => card.innerText()), "1 consecutive failures")
      assert.include(yield* does(() => card.innerText()), "next probe in")

      // Without a token nobody can act; a wrong one is refused.
      yield* does(() => card.getByRole("button").click())
      assert.isFalse(yield* does(() => page.locator("#act").isVisible()))
      yield* does(() => page.getByRole("button", { name: "Close" }).click())
      yield* does(() => page.getByRole("button", { name: "Enter a token" }).click())
      yield* does(() => page.locator("#token-value").fill("wrong"))
      yield* does(() => page.getByRole("button", { name: "Use it" }).click())
      yield* does(() => page.locator("#token-result", { hasText: "this needs a token that is right" }).waitFor())
      yield* does(() => page.locator("#token-value").fill("secret"))
      yield* does(() => page.getByRole("button", { name: "Use it" }).click())

      // An override by the token's bearer.
      yield* does(() => card.getByRole("button").click())
      const form = page.locator("#act")
      yield* does(() => form.waitFor())
      yield* does(() => form.getByLabel("What").selectOption("Disable it"))
      yield* does(() => form.getByLabel("Who you are").fill("ann"))
      yield* does(() => form.getByLabel("Reason").fill("incident 42"))
      assert.include(
        yield* does(() => page.locator("#consequence").innerText()),
        "Every call through shop/checkout will run"
      )
      yield* does(() => form.getByRole("button", { name: "Do it" }).click())
      yield* does(() => form.getByText("Done.").waitFor())
      yield* does(() => page.locator("#detail-status", { hasText: "Disabled" }).waitFor())
      yield* does(() => page.locator("#history", { hasText: "ann: incident 42" }).waitFor())
      const ran = () => other.request("call", { key: "checkout", succeeds: true })
      while (!(yield* does(ran))) yield* Effect.sleep(20)

      // Cleared, it is open again.
      yield* does(() => form.getByLabel("What").selectOption("Clear the override"))
      yield* does(() => form.getByRole("button", { name: "Do it" }).click())
      yield* does(() => page.locator("#detail-status", { hasText: "Open" }).waitFor())
      while (yield* does(ran)) yield* Effect.sleep(20)
      assert.deepStrictEqual(faults(), [])
    }).pipe(Effect.scoped))

  it.live("an override is among the last changes, and its end, though the state never changed", () =>
    Effect.gen(function*() {
      const { storage, url } = yield* serve(serverUrl("redis"), freshPrefix())
      const stock = circuitOf(storage, "stock")
      yield* stock.report(failures(1))
      const { faults, page } = yield* open(yield* browser, url)
      page.setDefaultTimeout(HANG_MILLIS)
      yield* does(() => page.getByText("Every circuit is closed.").waitFor())
      assert.isFalse(yield* does(() => page.locator("#changes").isVisible()))
      yield* stock.operate(
        { _tag: "Override", kind: "Disabled", reason: "incident 42", actor: "ann" },
        { why: { reason: "incident 42", actor: "ann" } }
      )
      const first = page.locator("#changes-list li").first()
      yield* does(() => first.getByText("closed → disabled: ann: incident 42").waitFor())
      yield* stock.operate({ _tag: "ClearOverride" }, { why: { reason: "it is over", actor: "bea" } })
      yield* does(() => first.getByText("disabled → closed: bea: it is over").waitFor())

      // A page that is opened later is told of both, too.
      const later = yield* open(yield* browser, url)
      later.page.setDefaultTimeout(HANG_MILLIS)
      yield* does(() => later.page.locator("#changes-list li").nth(1).waitFor())
      assert.match(
        yield* does(() => later.page.locator("#changes-list").innerText()),
        /stock\s+disabled → closed: bea: it is over[^]*stock\s+closed → disabled: ann: incident 42/
      )
      assert.deepStrictEqual([...faults(), ...later.faults()], [])
    }).pipe(Effect.scoped))

  it.live("a closed circuit that refuses calls is named", () =>
    Effect.gen(function*() {
      const { storage, url } = yield* serve(serverUrl("redis"), freshPrefix(), { refreshEvery: "500 millis" })
      const search = circuitOf(storage, "search")
      yield* search.report(failures(1))
      const { faults, page } = yield* open(yield* browser, url)
      page.setDefaultTimeout(HANG_MILLIS)
      yield* does(() => page.getByText("Every circuit is closed.").waitFor())
      assert.isFalse(yield* does(() => page.locator("#refusing").isVisible()))
      const { lifetime } = failures(3)
      yield* search.report({ ...noDelta, lifetime: { ...lifetime, rejected: 1 } })
      yield* does(() => page.locator("#refusing-list", { hasText: "search refuses 25 % of the calls" }).waitFor())
      assert.deepStrictEqual(faults(), [])
    }).pipe(Effect.scoped))

  it.live("says since when the storage is away, and heals when it is back", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.acquireRelease(
        does(() => RedisServer.start()),
        (redis) => does(() => redis.stop())
      )
      const { storage, url } = yield* serve(redis.url, freshPrefix())
      yield* circuitOf(storage, "payments").open()
      const { faults, page } = yield* open(yield* browser, url)
      page.setDefaultTimeout(HANG_MILLIS)
      yield* does(() => page.locator(".card", { hasText: "payments" }).waitFor())
      yield* does(() => redis.kill())
      yield* does(() => page.getByText("redis has not answered since").waitFor())
      assert.isTrue(yield* does(() => page.locator(".card", { hasText: "payments" }).isVisible()))
      yield* does(() => redis.restart())
      yield* does(() => page.getByText("redis answers").waitFor())
      assert.deepStrictEqual(faults(), [])
    }).pipe(Effect.scoped))

  it.live("5,000 circuits stay usable: few rows in the document, search, and the keyboard alone", () =>
    Effect.gen(function*() {
      const { storage, url } = yield* serve(serverUrl("redis"), freshPrefix())
      const reports = Array.from({ length: 5000 }, (_, i) => ({
        circuit: `shard/${i}`,
        instance: "a",
        sequence: 1,
        generation: 0,
        delta: failures(1),
        withins: []
      }))
      for (let at = 0; at < reports.length; at += 100) yield* storage.sync(reports.slice(at, at + 100))
      const { faults, page } = yield* open(yield* browser, url)
      page.setDefaultTimeout(HANG_MILLIS)
      yield* does(() => page.getByText("5000 circuits", { exact: true }).waitFor())
      const rows = page.locator(".row")
      assert.isBelow(yield* does(() => rows.count()), 60)
      yield* does(() => page.keyboard.press("/"))
      yield* does(() => page.keyboard.type("shard/4321"))
      yield* does(() => page.getByText("1 of 5000 circuits").waitFor())
      yield* does(() => page.locator("#search").fill(""))
      const list = page.getByRole("grid", { name: "All circuits" })
      yield* does(() => list.focus())
      yield* does(() => page.keyboard.press("End"))
      yield* does(() => rows.getByText("shard/999", { exact: true }).waitFor())
      yield* does(() => page.keyboard.press("ArrowUp"))
      yield* does(() => page.keyboard.press("Enter"))
      yield* does(() => page.locator("#detail-name", { hasText: "shard/998" }).waitFor())
      yield* does(() => page.keyboard.press("Escape"))
      yield* does(() => page.locator("#detail").waitFor({ state: "hidden" }))
      assert.deepStrictEqual(faults(), [])
    }).pipe(Effect.scoped))

  it.live("hostile names and reasons are text, and a long one breaks no layout, also at 200 % zoom", () =>
    Effect.gen(function*() {
      const { storage, url } = yield* serve(serverUrl("redis"), freshPrefix())
      const names = [
        "<img src=x onerror=alert(1)>",
        "a\u202Eb\u0007\u001b[31m",
        "</script><script>document.title='taken'</script>",
        "k".repeat(10_000),
        "../../etc?x=1#y"
      ]
      for (const name of names) {
        const it = circuitOf(storage, name)
        yield* it.operate({
          _tag: "Override",
          kind: "ForcedOpen",
          reason: `<b>${name}</b>`.slice(0, 900),
          actor: "ann"
        })
      }
      const { faults, page } = yield* open(yield* browser, url)
      page.setDefaultTimeout(HANG_MILLIS)
      yield* does(() => page.getByText("5 circuits", { exact: true }).waitFor())
      assert.strictEqual(yield* does(() => page.title()), "Circuits")
      assert.strictEqual(yield* does(() => page.locator("main img, main b, main script").count()), 0)
      assert.include(yield* does(() => page.locator("#attention-list").innerText()), "a\\u{202e}b\\u{7}\\u{1b}[31m")
      const path = page.locator(".card", { hasText: "../../etc" })
      yield* does(() => path.getByRole("button").click())
      yield* does(() => page.locator("#history li").first().waitFor())
      assert.notInclude(yield* does(() => page.locator("#history").innerText()), "the server answered")
      yield* does(() => page.keyboard.press("Escape"))
      // A window of half the size in CSS pixels is what a zoom of 200 % is to a page.
      for (const width of [1280, 640, 320]) {
        yield* does(() => page.setViewportSize({ width, height: 480 }))
        const [content, window] = yield* does(() =>
          page.evaluate("[document.documentElement.scrollWidth, innerWidth]") as Promise<[number, number]>
        )
        assert.isAtMost(content, window, `at ${width} pixels`)
      }
      assert.deepStrictEqual(faults(), [])
    }).pipe(Effect.scoped))
})
