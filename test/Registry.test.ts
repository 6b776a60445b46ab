import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Scope, Stream } from "effect"
import { Breaker, Storage, Trip } from "../src/index.ts"
import * as Registry from "../src/Registry.ts"
import { Link, memory } from "./support/storages.ts"
import { failTimes, make, makeKeyed, untilQuiet } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

const own = Effect.provide(Registry.layer)

describe("the registry", () => {
  it.effect("lists the breakers of the process by name, until their scopes close", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      yield* Scope.provide(make("b", one), scope)
      yield* makeKeyed("a", { capacity: 10 })
      const entries = yield* Registry.breakers
      assert.deepStrictEqual(entries.map(({ backend, name }) => [name, backend]), [["a", "memory"], ["b", "memory"]])
      assert.strictEqual(yield* entries[1]!.fingerprint, Breaker.fingerprint(one))
      assert.strictEqual((yield* entries[1]!.policy).openFor, "10 seconds")
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual((yield* Registry.breakers).map(({ name }) => name), ["a"])
    }).pipe(own))

  it.effect("finds a breaker by its circuit's name, a key's too, and makes none", () =>
    Effect.gen(function*() {
      const breaker = yield* make("found", one)
      const keyed = yield* makeKeyed("keyed", one)
      yield* failTimes(breaker, 1)
      yield* Effect.exit(keyed.wrap(Effect.fail("no"), { key: "k" }))
      const stateOf = (name: string) =>
        Effect.flatMap(
          Registry.find(name),
          Option.match({
            onNone: () => Effect.succeed("none"),
            onSome: ({ state }) => state
          })
        )
      assert.strictEqual(yield* stateOf("found"), "Open")
      assert.strictEqual(yield* stateOf("keyed/k"), "Open")
      assert.strictEqual(yield* stateOf("keyed/other"), "none")
      assert.strictEqual(yield* stateOf("other"), "none")
      assert.strictEqual(yield* keyed.size, 1)
    }).pipe(own))

  it.effect("has the keys of a keyed breaker, and its snapshots by prefix and limit", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("hosts", {})
      for (const key of ["a1", "a2", "b1"]) yield* keyed.wrap(Effect.void, { key })
      const [entry] = yield* Registry.breakers
      assert.strictEqual(entry!.breaker._tag, "Keyed")
      if (entry!.breaker._tag === "Keyed") assert.deepStrictEqual([...yield* entry!.breaker.keys], ["a1", "a2", "b1"])
      const names = (options?: { prefix?: string; limit?: number }) =>
        Effect.map(entry!.snapshots(options), (snapshots) => snapshots.map(({ circuit }) => circuit))
      assert.deepStrictEqual(yield* names({ prefix: "hosts/a" }), ["hosts/a1", "hosts/a2"])
      assert.deepStrictEqual(yield* names({ limit: 1 }), ["hosts/a1"])
      assert.strictEqual((yield* Registry.snapshots).length, 3)
    }).pipe(own))

  it.effect("hears the events of all breakers, also of those that are made later", () =>
    Effect.gen(function*() {
      const heard: Array<string> = []
      const listening = Registry.onEvent((event) =>
        Effect.sync(() => {
          if (event._tag === "Transition") heard.push(`${event.circuit}: ${event.to}`)
        })
      )
      const first = yield* make("first", one)
      yield* Layer.build(listening)
      const second = yield* make("second", one)
      yield* untilQuiet
      yield* failTimes(first, 1)
      yield* failTimes(second, 1)
      yield* untilQuiet
      assert.deepStrictEqual(heard.toSorted(), ["first: Open", "second: Open"])
    }).pipe(own))

  it.effect("tells which breakers came and went", () =>
    Effect.gen(function*() {
      const changes: Array<string> = []
      yield* Effect.flatMap(Registry.Registry, (registry) =>
        registry.changes.pipe(Stream.runForEach(({ _tag, entry }) =>
          Effect.sync(() =>
            changes.push(`${_tag} ${entry.name}`)
          )
        ))).pipe(Effect.forkChild({ startImmediately: true }))
      yield* Effect.scoped(make("passing", one))
      yield* untilQuiet
      assert.deepStrictEqual(changes, ["Added passing", "Removed passing"])
    }).pipe(own))

  it.effect("has the drift of a breaker whose circuit was last changed under another policy", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const mine = yield* new Link(of).make("drifting", { ...one, evidence: "any" })
      const other = { ...one, evidence: "any", openFor: "20 seconds" } as const
      const [entry] = yield* Registry.breakers
      yield* mine.wrap(Effect.void)
      assert.isTrue(Option.isNone(yield* entry!.drift))
      const theirs = yield* new Link(of).make("drifting", other)
      yield* failTimes(theirs, 1)
      yield* untilQuiet
      assert.deepStrictEqual(yield* entry!.drift, Option.some(Breaker.fingerprint(other)))
      assert.strictEqual((yield* entry!.snapshots())[0]!.fleet!.drift, Breaker.fingerprint(other))
      // An operator has no policy. A change of its own ends it, and is drift for the other.
      yield* mine.reset
      yield* failTimes(mine, 1)
      yield* untilQuiet
      assert.isTrue(Option.isNone(yield* entry!.drift))
      assert.strictEqual((yield* theirs.snapshot).fleet!.drift, Breaker.fingerprint(one))
    }).pipe(own))

  it.effect("each circuit of a keyed breaker has its own snapshot, nearness to opening and drift", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const five = { trip: Trip.consecutiveFailures(5), evidence: "any" } as const
      const keyed = yield* Breaker.makeKeyed("hosts", five).pipe(Effect.provide(new Link(of).layer))
      const other = yield* new Link(of).make("hosts/b", { ...five, openFor: "5 seconds" })
      for (const key of ["a", "b"]) yield* Effect.exit(keyed.wrap(Effect.fail("no"), { key }))
      yield* Effect.exit(keyed.wrap(Effect.fail("no"), { key: "a" }))
      yield* failTimes(other, 5)
      yield* untilQuiet
      const [entry] = (yield* Registry.breakers).filter(({ name }) => name === "hosts")
      const drift = Breaker.fingerprint({ ...five, openFor: "5 seconds" })
      assert.deepStrictEqual(
        (yield* entry!.snapshots()).map((
          { approach, circuit, fleet, state }
        ) => [circuit, state, approach, fleet?.drift]),
        [["hosts/a", "Closed", 0.4, undefined], ["hosts/b", "Open", 0, drift]]
      )
      assert.deepStrictEqual(yield* entry!.drift, Option.some(drift))
      assert.strictEqual(yield* entry!.fingerprint, Breaker.fingerprint(five))
    }).pipe(own))

  it.effect("is one for the process by default", () =>
    Effect.gen(function*() {
      class Mine extends Breaker.Service<Mine>()("registered-by-default", one) {}
      yield* Layer.build(Layer.provide(Mine.layer, Storage.MemoryStorageLive))
      assert.isTrue(Option.isSome(yield* Registry.find("registered-by-default")))
    }))
})
