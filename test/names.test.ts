import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { failTimes, make, makeKeyed, rejectionOf } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1) } as const

const good = ["n".repeat(10_000), "__proto__", "constructor", "🦆 \u202e\0\n", "a/b", "a~b", "é", "e\u0301"]
const said = (name: string) => JSON.stringify(name).slice(0, 20)

describe("names", () => {
  for (const name of good) {
    it.effect(`${said(name)} is a breaker's name, distinct from all others`, () => {
      class Named extends Breaker.Service<Named>()(name, one) {}
      class Keyed extends Breaker.KeyedService<Keyed>()(name, one) {}
      return Effect.gen(function*() {
        const breaker = yield* make(name, one)
        yield* failTimes(breaker, 1)
        const error = yield* rejectionOf(breaker)
        assert.strictEqual(error.circuit, name)
        assert.strictEqual(breaker.circuit, name)
        assert.strictEqual((yield* makeKeyed(name, one)).name, name)
        const service = yield* Named
        assert.strictEqual(service.circuit, name)
        assert.strictEqual(yield* service.state, "Closed")
        yield* Keyed.wrap(Effect.void, { key: "a" })
      }).pipe(Effect.provide(Layer.provide(Layer.merge(Named.layer, Keyed.layer), Storage.MemoryStorageLive)))
    })
  }

  it.effect("different names name different services", () => {
    const services = good.map((name) => {
      class Named extends Breaker.Service<Named>()(name, one) {}
      return Named
    })
    const layers = services.map((service) => service.layer)
    return Effect.gen(function*() {
      yield* failTimes({ wrap: services[0]!.wrap as never }, 1)
      const states: Array<string> = []
      for (const service of services) states.push(yield* service.use((breaker) => breaker.state))
      assert.deepStrictEqual(states, ["Open", ...good.slice(1).map(() => "Closed")])
    }).pipe(
      Effect.provide(Layer.provide(Layer.mergeAll(...layers as [typeof layers[0] & {}]), Storage.MemoryStorageLive))
    )
  })

  const unusable: ReadonlyArray<readonly [name: unknown, message: RegExp]> = [
    ["\ud800", /name must be a well-formed text of at least one character, got "/],
    ["a\udfffb", /name must be a well-formed text of at least one character, got "/],
    ["", /name must be a well-formed text of at least one character, got ""/],
    [undefined, /name must be a well-formed text of at least one character, got undefined/],
    [7, /name must be a well-formed text of at least one character, got 7/],
    ["__effect_breaker/x", /name must be a name that does not begin with __effect_breaker\/, which is reserved, got "/],
    ["__effect_breaker", /name must be a name that does not begin with __effect_breaker\/, which is reserved, got "/]
  ]
  for (const [given, message] of unusable) {
    const name = given as string
    it(`the name ${escape(String(name))} is refused at once, with field, value and range (F32)`, () => {
      assert.throws(() => Breaker.make(name, {}), message)
      assert.throws(() => Breaker.makeKeyed(name, {}), message)
      assert.throws(() => Breaker.layer(name, {}), message)
      assert.throws(() => Breaker.Service()(name, {}), message)
      assert.throws(() => Breaker.KeyedService()(name, {}), message)
    })
  }

  it.effect("two breakers made by hand may have the same name: they are separate", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* make("same", one), yield* make("same", one)]
      yield* failTimes(a, 1)
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Open", "Closed"])
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(b.wrap(Effect.void))))
    }))
})
