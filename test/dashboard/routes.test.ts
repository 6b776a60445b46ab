import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import { TestClock } from "effect/testing"
import type { Output } from "../../src/cli/Output.ts"
import * as Dashboard from "../../src/dashboard/Dashboard.ts"
import type { Session, Update } from "../../src/dashboard/internal/Feed.ts"
import { isSameToken } from "../../src/dashboard/internal/Tokens.ts"
import { Storage, Trip } from "../../src/index.ts"
import { type Entry, Registry } from "../../src/Registry.ts"
import { Storage as StorageService } from "../../src/Storage/Storage.ts"
import { make } from "../utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "30 seconds" } as const

/** Serves the dashboard without a socket, over the storage of the test. */
const serve = <E>(dashboard: Layer.Layer<never, E, HttpRouter.HttpRouter | StorageService>) =>
  Effect.gen(function*() {
    const context = yield* Effect.context<StorageService>()
    const routes = Layer.provide(dashboard, Layer.succeedContext(context)) as Layer.Layer<never>
    const { handler } = yield* Effect.acquireRelease(
      Effect.sync(() => HttpRouter.toWebHandler(routes, { disableLogger: true })),
      ({ dispose }) => Effect.promise(dispose)
    )
    return (path: string, init?: RequestInit) =>
      Effect.promise((signal) => handler(new Request(`http://localhost${path}`, { signal, ...init })))
  })

const jsonOf = <A>(response: Response) => Effect.promise(() => response.json() as Promise<A>)

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

const post = (token: string | undefined, body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  body: typeof body === "string" ? body : JSON.stringify(body),
  headers: { "content-type": "application/json", ...token === undefined ? {} : bearer(token), ...headers }
})

const token = Redacted.make("act")
const readToken = Redacted.make("read")

describe("the page", () => {
  it.effect("is one file that no policy lets ask elsewhere", () =>
    Effect.gen(function*() {
      const get = yield* serve(Dashboard.layer())
      const response = yield* get("/circuits")
      assert.strictEqual(response.headers.get("content-type"), "text/html")
      assert.match(
        response.headers.get("content-security-policy") ?? "",
        /^default-src 'none'; script-src 'sha256-[^']+'; /
      )
      const html = yield* Effect.promise(() => response.text())
      assert.notMatch(html, /\b(src|href)="(?!#)/)
      assert.notMatch(html.replaceAll("http://www.w3.org/", ""), /https?:\/\//)
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  it.effect("is where the path says, under the title", () =>
    Effect.gen(function*() {
      const get = yield* serve(Dashboard.layer({ path: "/ops/breakers", title: "Payments" }))
      assert.strictEqual((yield* get("/ops/breakers")).status, 200)
      const { title } = yield* jsonOf<Session>(yield* get("/ops/breakers/api/session"))
      assert.strictEqual(title, "Payments")
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  it("refuses options out of range", () => {
    assert.throws(() => Dashboard.layer({ limit: 0 }), RangeError, "limit")
    assert.throws(() => Dashboard.layer({ refreshEvery: "1 milli" }), RangeError, "refreshEvery")
  })
})

describe("reading", () => {
  it.effect("lists circuits, and has each with its record", () =>
    Effect.gen(function*() {
      const payments = yield* make("payments/eu west", one)
      yield* Effect.ignore(payments.wrap(Effect.fail("declined")))
      const get = yield* serve(Dashboard.layer())
      const { backend, circuits } = yield* jsonOf<Output.Ls>(yield* get("/circuits/api/circuits"))
      assert.deepStrictEqual([backend, circuits.map(({ circuit, state }) => [circuit, state])], [
        "memory",
        [["payments/eu west", "open"]]
      ])
      const path = `/circuits/api/circuits/${encodeURIComponent("payments/eu west")}`
      const { remaining } = yield* jsonOf<Output.Circuit>(yield* get(path))
      assert.strictEqual(remaining, 30_000)
      for (const none of ["paymets", "%", "payments/rates", "payments/history/x"]) {
        assert.strictEqual((yield* get(`/circuits/api/circuits/${none}`)).status, 404, none)
      }
      const { changes } = yield* jsonOf<Output.History>(yield* get(`${path}/history`))
      assert.deepStrictEqual(changes.map(({ from, reason, to }) => [from, to, reason]), [
        ["closed", "open", "1 consecutive failures"]
      ])
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  it.effect("needs the read token where there is one, and the acting one is enough", () =>
    Effect.gen(function*() {
      const get = yield* serve(Dashboard.layer({ token, readToken }))
      const statusOf = (headers: Record<string, string>) =>
        Effect.map(get("/circuits/api/circuits", { headers }), ({ status }) => status)
      assert.strictEqual(yield* statusOf({}), 401)
      for (const wrong of ["", "rea", "readr", "act "]) assert.strictEqual(yield* statusOf(bearer(`${wrong}x`)), 401)
      assert.strictEqual(yield* statusOf(bearer("read")), 200)
      assert.strictEqual(yield* statusOf(bearer("act")), 200)
      const session = yield* jsonOf<Session>(yield* get("/circuits/api/session", { headers: bearer("read") }))
      assert.strictEqual(session.may, "read")
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  it.effect("takes its tokens from the environment", () =>
    Effect.gen(function*() {
      const get = yield* serve(
        Dashboard.layerConfig().pipe(Layer.provide(ConfigProvider.layer(
          ConfigProvider.fromEnvRecord({ CIRCUIT_BREAKER_DASHBOARD_READ_TOKEN: "read" })
        )))
      )
      assert.strictEqual((yield* get("/circuits/api/session")).status, 401)
      assert.strictEqual((yield* get("/circuits/api/session", { headers: bearer("read") })).status, 200)
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  it.live("tells what changes, and reads nothing while nobody looks", () =>
    Effect.gen(function*() {
      const storage = yield* StorageService
      let reads = 0
      const counted = StorageService.of({
        ...storage,
        list: storage.list,
        sync: (reports) => {
          reads++
          return storage.sync(reports)
        }
      })
      const payments = yield* make("payments", one)
      yield* payments.override({ mode: "Disabled", reason: "a test", actor: "ann" })
      const get = yield* serve(Dashboard.layer()).pipe(Effect.provideService(StorageService, counted))
      assert.strictEqual(reads, 0)
      const response = yield* get("/circuits/api/events")
      assert.strictEqual(response.headers.get("content-type"), "text/event-stream")
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
      const until = (holds: (update: Update) => boolean) =>
        Effect.promise(async () => {
          for (;;) {
            const { done, value } = await reader.read()
            if (done) throw new Error("the events ended")
            if (holds(JSON.parse(value.slice("data: ".length)))) return
          }
        })
      yield* until(({ reset, statuses }) => reset && statuses.disabled === 1)
      yield* payments.clearOverride({ actor: "ann" })
      yield* until(({ circuits }) => circuits.some(({ override }) => override === null))
      yield* Effect.promise(() => reader.cancel())
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  it.live("sends the circuits whose policy here differs from that of the fleet", () =>
    Effect.gen(function*() {
      const snapshot = { circuit: "payments", isolated: false, fleet: { state: "Closed", drift: "theirs" } }
      const entry = { fingerprint: Effect.succeed("ours"), snapshots: () => Effect.succeed([snapshot]) }
      const registry = { ...yield* Registry, breakers: Effect.succeed([entry as unknown as Entry]) }
      const get = yield* serve(Dashboard.layer()).pipe(Effect.provideService(Registry, registry))
      const response = yield* get("/circuits/api/events")
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
      const { value } = yield* Effect.promise(() => reader.read())
      const { here }: Update = JSON.parse(value!.slice("data: ".length))
      assert.deepStrictEqual(here, [
        { circuit: "payments", isolated: null, drift: { here: "ours", fleet: "theirs" } }
      ])
      yield* Effect.promise(() => reader.cancel())
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))
})

describe("acting", () => {
  const open = { mode: "forced_open", reason: "incident 42", actor: "ann" }

  it.effect("is for the bearer of the token, and from the page itself", () =>
    Effect.gen(function*() {
      const payments = yield* make("payments", one)
      yield* Effect.ignore(payments.wrap(Effect.fail("declined")))
      const get = yield* serve(Dashboard.layer({ token, readToken }))
      const override = (init: RequestInit) => get("/circuits/api/circuits/payments/override", init)
      assert.strictEqual((yield* override(post(undefined, open))).status, 401)
      assert.strictEqual((yield* override(post("wrong", open))).status, 401)
      assert.strictEqual((yield* override(post("read", open))).status, 403)
      assert.strictEqual((yield* override(post("act", open, { "sec-fetch-site": "cross-site" }))).status, 403)
      assert.isUndefined((yield* payments.snapshot).override)
      const { after } = yield* jsonOf<Output.Acted>(yield* override(post("act", open)))
      assert.strictEqual(after.override?.mode, "forced_open")
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  it.effect("overrides for a time, clears, probes and resets", () =>
    Effect.gen(function*() {
      const payments = yield* make("payments", one)
      yield* Effect.ignore(payments.wrap(Effect.fail("declined")))
      const get = yield* serve(Dashboard.layer({ token }))
      const act = (name: string, body: unknown) =>
        Effect.flatMap(get(`/circuits/api/circuits/payments/${name}`, post("act", body)), jsonOf<Output.Acted>)
      assert.strictEqual((yield* act("override", { ...open, forMillis: 60_000 })).after.override?.remaining, 60_000)
      assert.isNull((yield* act("clear", { actor: "ann" })).after.override)
      assert.isFalse((yield* act("clear", { actor: "ann" })).done)
      assert.strictEqual((yield* act("half-open", { actor: "ann" })).after.state, "half_open")
      assert.strictEqual((yield* act("reset", { actor: "ann" })).after.state, "closed")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* payments.snapshot).state, "Closed")
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  const bad: ReadonlyArray<readonly [string, string, unknown, number, RegExp]> = [
    ["no JSON", "override", "{", 400, /as JSON/],
    ["no actor", "override", { mode: "disabled", reason: "why" }, 400, /actor/],
    ["no reason", "override", { mode: "disabled", actor: "ann" }, 400, /reason/],
    ["a reason of two lines", "override", { ...open, reason: "a\nb" }, 400, /one line/],
    ["an unknown mode", "override", { ...open, mode: "broken" }, 400, /as JSON/],
    ["a time of nothing", "override", { ...open, forMillis: 0 }, 400, /expiresIn/],
    ["an unknown act", "explode", { actor: "ann" }, 404, /no act/]
  ]
  for (const [what, name, body, status, detail] of bad) {
    it.effect(`refuses ${what}, and changes nothing`, () =>
      Effect.gen(function*() {
        const payments = yield* make("payments", one)
        yield* Effect.ignore(payments.wrap(Effect.fail("declined")))
        const get = yield* serve(Dashboard.layer({ token }))
        const response = yield* get(`/circuits/api/circuits/payments/${name}`, post("act", body))
        assert.strictEqual(response.status, status)
        assert.match((yield* jsonOf<{ readonly detail: string }>(response)).detail, detail)
        assert.isUndefined((yield* payments.snapshot).override)
      }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))
  }

  it.effect("refuses a circuit that nobody uses, because its name may be misspelt", () =>
    Effect.gen(function*() {
      const get = yield* serve(Dashboard.layer({ token }))
      const response = yield* get("/circuits/api/circuits/paymets/override", post("act", open))
      assert.strictEqual(response.status, 404)
      const { circuits } = yield* jsonOf<Output.Ls>(yield* get("/circuits/api/circuits"))
      assert.deepStrictEqual(circuits, [])
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))

  it.effect("acts as whom an authorization of the application names", () =>
    Effect.gen(function*() {
      const payments = yield* make("payments", one)
      yield* Effect.ignore(payments.wrap(Effect.fail("declined")))
      const get = yield* serve(Dashboard.layerWith({
        authorize: ({ headers }) =>
          Effect.succeed(headers["x-user"] === undefined ? null : { actor: headers["x-user"], may: "act" })
      }))
      const path = "/circuits/api/circuits/payments/override"
      assert.strictEqual((yield* get(path, post(undefined, open))).status, 401)
      const page = yield* get("/circuits")
      assert.deepStrictEqual([page.status, (yield* jsonOf<{ readonly detail: string }>(page)).detail], [
        401,
        "this needs somebody whom the application knows"
      ])
      assert.strictEqual(
        (yield* get("/circuits", { headers: { "x-user": "bob" } })).headers.get("content-type"),
        "text/html"
      )
      const { after } = yield* jsonOf<Output.Acted>(yield* get(path, post(undefined, open, { "x-user": "bob" })))
      assert.strictEqual(after.override?.actor, "bob")
    }).pipe(Effect.scoped, Effect.provide(Storage.MemoryStorageLive)))
})

it("tokens are the same only if every character is", () => {
  assert.isTrue(isSameToken("secret", "secret"))
  for (const given of ["", "s", "secre", "secrets", "secretsecret", "Secret"]) {
    assert.isFalse(isSameToken(given, "secret"))
  }
  assert.isFalse(isSameToken("x", ""))
})
