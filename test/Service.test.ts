import { assert, describe, it } from "@effect/vitest"
import { Config, Duration, Effect, Exit, Fiber, Layer, Logger, References, Scope, Stream } from "effect"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { messages } from "../src/internal/Messages.ts"
import { memory as memoryStorage } from "./support/storages.ts"
import { defectOf, make, rejectionOf } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const
const memory = Storage.MemoryStorageLive

/** Builds layers on one storage. */
const builder = Effect.map(
  memoryStorage,
  (storage) => <A, E>(layer: Layer.Layer<A, E, Storage.Storage>) =>
    Effect.exit(Layer.build(Layer.fresh(Layer.provide(layer, Layer.succeed(Storage.Storage, storage)))))
)

describe("a service", () => {
  class Payments extends Breaker.Service<Payments>()("payments-service", { ...one, timeout: "1 second" }) {}
  const live = Payments.layer.pipe(Layer.provide(memory))

  it.effect("a service is a breaker in the context, and its wrap uses that breaker", () =>
    Effect.gen(function*() {
      const payments = yield* Payments
      assert.strictEqual(payments.circuit, "payments-service")
      assert.strictEqual(yield* Effect.succeed(1).pipe(Payments.wrap), 1)
      assert.strictEqual(yield* Effect.succeed(2).pipe(Payments.wrapWith({ classify: () => ({ _tag: "Ignored" }) })), 2)
      assert.strictEqual(yield* Payments.wrapWith(Effect.succeed(3), { classify: () => ({ _tag: "Failure" }) }), 3)
      assert.deepInclude((yield* payments.snapshot).statistics, { success: 1, ignored: 1, failure: 1 })
      assert.strictEqual(yield* Payments.use((breaker) => breaker.state), "Open")
      assert.strictEqual((yield* rejectionOf(payments)).circuit, "payments-service")
    }).pipe(Effect.provide(live)))

  it.effect("a service has one circuit, however often its layer is used", () =>
    Effect.gen(function*() {
      yield* Effect.exit(Payments.wrap(Effect.fail("no")))
      assert.strictEqual(yield* Payments.use((breaker) => breaker.state), "Open")
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* Payments.use((breaker) => breaker.state), "Open")
      }).pipe(Effect.provide(Payments.layer))
    }).pipe(
      Effect.provide(Layer.mergeAll(Payments.layer, Layer.effectDiscard(Payments).pipe(Layer.provide(Payments.layer)))),
      Effect.provide(memory)
    ))

  it.effect("a service can be mocked in its context", () => {
    const calls: Array<string> = []
    const mock = Layer.effect(
      Payments,
      Effect.map(make("mocked", {}), (breaker) => ({
        ...breaker,
        wrap: <A, E, R>(self: Effect.Effect<A, E, R>) => {
          calls.push("wrap")
          return self
        }
      }))
    )
    return Effect.gen(function*() {
      assert.strictEqual(yield* Payments.wrap(Effect.succeed("mine")), "mine")
      assert.deepStrictEqual(calls, ["wrap"])
      assert.strictEqual((yield* (yield* Payments).snapshot).statistics.success, 0)
    }).pipe(Effect.provide(mock))
  })

  it.effect("a service can be mocked without a breaker", () => {
    const open = new Breaker.BreakerOpenError({ circuit: "mock", state: "Open", openedBy: "fleet" })
    const mock = Layer.mock(Payments)({ circuit: "mock", wrap: () => Effect.fail(open), state: Effect.succeed("Open") })
    return Effect.gen(function*() {
      assert.strictEqual(yield* Effect.flip(Payments.wrap(Effect.succeed("mine"))), open)
      assert.strictEqual(yield* Payments.use((breaker) => breaker.state), "Open")
    }).pipe(Effect.provide(mock))
  })

  it.effect("layerTest is closed by default, and rejects nothing", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 9; i++) yield* Effect.exit(Payments.wrap(Effect.fail("no")))
      assert.strictEqual(yield* Effect.flip(Payments.wrap(Effect.fail("mine"))), "mine")
      const breaker = yield* Payments
      assert.strictEqual(yield* breaker.state, "Closed")
      assert.deepInclude(yield* breaker.snapshot, { circuit: "payments-service", state: "Closed" })
    }).pipe(Effect.provide(Payments.layerTest())))

  it.effect("layerTest with state Open stays open", () =>
    Effect.gen(function*() {
      const breaker = yield* Payments
      yield* breaker.reset
      for (let i = 0; i < 3; i++) {
        const error = yield* rejectionOf({
          wrap: (self) => Effect.provideService(Payments.wrap(self), Payments, breaker)
        })
        assert.deepInclude(error, { circuit: "payments-service", state: "Open" })
        assert.deepStrictEqual(error.retryAfter, Duration.seconds(10))
      }
      const never = Effect.die("ran")
      assert.isTrue(Breaker.isRejection(yield* Effect.flip(Payments.wrapWith(never, {}))))
      assert.strictEqual(yield* breaker.state, "Open")
      const listening = yield* Effect.forkChild(Stream.runDrain(breaker.events), { startImmediately: true })
      assert.isUndefined(listening.pollUnsafe())
      yield* Fiber.interrupt(listening)
    }).pipe(Effect.provide(Payments.layerTest({ state: "Open" }))))
})

describe("layerTest of a keyed service", () => {
  class Hosts extends Breaker.KeyedService<Hosts>()("hosts-test", { ...one, capacity: 10, timeout: "1 second" }) {}
  const call = (key: string) => Hosts.wrap(Effect.succeed("ran"), { key })
  const never = Effect.die("ran")

  it.effect("is closed for every key by default, and rejects nothing", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 9; i++) yield* Effect.exit(Hosts.wrap(Effect.fail("no"), { key: "a" }))
      assert.strictEqual(yield* call("a"), "ran")
      assert.strictEqual(yield* call("b"), "ran")
      const hosts = yield* Hosts
      assert.strictEqual(yield* hosts.size, 2)
      const entries = yield* Hosts.entries
      assert.deepStrictEqual(
        entries.map(({ key, snapshot: { circuit, state } }) => [key, circuit, state]),
        [["a", "hosts-test/a", "Closed"], ["b", "hosts-test/b", "Closed"]]
      )
      assert.strictEqual(hosts.get("a"), hosts.get("a"))
    }).pipe(Effect.provide(Hosts.layerTest())))

  it.effect("is open for the keys that are named", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* call("b"), "ran")
      const key = { key: "a" }
      const refused = [
        Hosts.wrap(never, key),
        never.pipe(Hosts.wrap({ key: "a", classify: () => ({ _tag: "Success" }) })),
        Effect.scoped(Hosts.permit(key)),
        Stream.runDrain(Hosts.wrapStream(Stream.fromEffect(never), key)),
        Stream.runDrain(Stream.fromEffect(never).pipe(Hosts.wrapStream(key)))
      ]
      for (const call of refused) {
        assert.deepInclude(yield* Effect.flip(call), {
          _tag: "BreakerOpenError",
          circuit: "hosts-test/a",
          state: "Open"
        })
      }
      const waiting = yield* Effect.forkChild(Effect.scoped(Hosts.awaitPermit(key)), { startImmediately: true })
      assert.isUndefined(waiting.pollUnsafe())
      yield* Fiber.interrupt(waiting)
      assert.isFalse((yield* Effect.scoped(Hosts.permit({ key: "b" }))).probe)
      assert.strictEqual(yield* (yield* Hosts).get("a").state, "Open")
    }).pipe(Effect.provide(Hosts.layerTest({ open: ["a"] }))))

  it.effect("is open for all keys where it is told so, and refuses a key that a breaker would refuse", () =>
    Effect.gen(function*() {
      for (const key of ["a", "b"]) {
        assert.deepInclude(yield* Effect.flip(Hosts.wrap(never, { key })), { circuit: `hosts-test/${key}` })
      }
      assert.match(defectOf(yield* Effect.exit(Hosts.wrap(Effect.void, { key: "" }))), /key must be a well-formed text/)
    }).pipe(Effect.provide(Hosts.layerTest({ open: "all" }))))
})

describe("the default breaker", () => {
  it.effect("the default breaker is shared by a whole program", () =>
    Effect.gen(function*() {
      yield* Effect.exit(Breaker.wrap(Effect.fail("no")))
      const error = yield* Effect.flip(Effect.succeed(1).pipe(Breaker.wrap))
      assert.deepInclude(error, { _tag: "BreakerOpenError", circuit: "default" })
      assert.strictEqual(yield* Breaker.Breaker.use((breaker) => breaker.state), "Open")
    }).pipe(Effect.provide(Breaker.layer("default", one)), Effect.provide(memory)))
})

describe("one circuit name", () => {
  it.effect("one circuit name of two services is a defect that names both", () => {
    class One extends Breaker.Service<One>()("contested", {}) {}
    class Two extends Breaker.Service<Two>()("contested", { openFor: "1 second" }) {}
    return Effect.gen(function*() {
      const build = yield* builder
      yield* build(One.layer)
      for (
        const layer of [
          Two.layer,
          Two.layerConfig({ openFor: Config.succeed("1 second") }),
          Breaker.layer("contested", {})
        ]
      ) {
        const defect = defectOf(yield* build(layer as Layer.Layer<never, never, Storage.Storage>))
        assert.match(defect, /Circuit "contested" belongs to One and to (Two|Breaker\.layer\("contested"\))/)
      }
    })
  })

  it.effect("one service may be built twice, and its circuit name is free when the last scope has closed", () => {
    class One extends Breaker.Service<One>()("twice", {}) {}
    class Two extends Breaker.Service<Two>()("twice", {}) {}
    return Effect.gen(function*() {
      const build = yield* builder
      const scopes = [yield* Scope.make(), yield* Scope.make()] as const
      for (const scope of scopes) assert.isTrue(Exit.isSuccess(yield* Scope.provide(build(One.layer), scope)))
      yield* Scope.close(scopes[0], Exit.void)
      defectOf(yield* build(Two.layer))
      yield* Scope.close(scopes[1], Exit.void)
      assert.isTrue(Exit.isSuccess(yield* build(Two.layer)))
    })
  })

  it.effect("a circuit name is free again if the layer could not be built", () => {
    class One extends Breaker.Service<One>()("unbuilt", {}) {}
    class Two extends Breaker.Service<Two>()("unbuilt", {}) {}
    return Effect.gen(function*() {
      const build = yield* builder
      const failing = Layer.merge(One.layer, Layer.effectDiscard(Effect.fail("no")))
      yield* Effect.exit(Effect.scoped(Layer.build(Layer.provide(failing, memory))))
      assert.isTrue(Exit.isSuccess(yield* build(Two.layer)))
    })
  })

  it.effect("a service and a keyed service may have the same name", () => {
    class One extends Breaker.Service<One>()("shared-name", {}) {}
    class Many extends Breaker.KeyedService<Many>()("shared-name", {}) {}
    class Other extends Breaker.KeyedService<Other>()("shared-name", {}) {}
    return Effect.gen(function*() {
      const build = yield* builder
      const exit = yield* build(Layer.merge(One.layer, Many.layer))
      assert.isTrue(Exit.isSuccess(exit))
      assert.match(defectOf(yield* build(Other.layer)), /belongs to Many and to Other/)
    })
  })

  it.effect("a service with the name of a key of a keyed service is a defect that names both, in either order", () => {
    class Tenants extends Breaker.KeyedService<Tenants>()("tenants", {}) {}
    class Acme extends Breaker.Service<Acme>()("tenants/acme", {}) {}
    class Near extends Breaker.Service<Near>()("tenants-acme", {}) {}
    return Effect.gen(function*() {
      const build = yield* builder
      yield* Effect.scoped(Effect.gen(function*() {
        yield* build(Tenants.layer)
        assert.match(defectOf(yield* build(Acme.layer)), /belongs to Tenants and to Acme/)
        assert.isTrue(Exit.isSuccess(yield* build(Near.layer)))
      }))
      yield* build(Acme.layer)
      assert.match(defectOf(yield* build(Tenants.layer)), /belongs to Acme and to Tenants/)
    })
  })

  it.effect("one circuit name on two storages is two circuits", () => {
    class One extends Breaker.Service<One>()("elsewhere", {}) {}
    class Two extends Breaker.Service<Two>()("elsewhere", {}) {}
    return Effect.gen(function*() {
      const [here, there] = [yield* builder, yield* builder]
      assert.isTrue(Exit.isSuccess(yield* here(One.layer)))
      assert.isTrue(Exit.isSuccess(yield* there(Two.layer)))
    })
  })

  it.effect("a module that is evaluated again makes a second service of one name: a warning names both, and both work", () => {
    const evaluate = () => {
      class Reloaded extends Breaker.Service<Reloaded>()("reloaded", one) {}
      return Reloaded
    }
    const [First, Second] = [evaluate(), evaluate()]
    const lines: Array<unknown> = []
    const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
      lines.push([logLevel, message, fiber.getRef(References.CurrentLogAnnotations)])
    })
    return Effect.gen(function*() {
      const build = yield* builder
      const first = yield* yield* build(First.layer)
      const second = yield* yield* build(Second.layer)
      const { text } = messages.madeTwice
      const fields = { circuit: "reloaded", service: "Reloaded", other: "Reloaded" }
      assert.deepStrictEqual(lines, [["Warn", [text], fields]])
      yield* Effect.exit(Effect.provideContext(First.wrap(Effect.fail("no")), first))
      assert.isTrue(Breaker.isRejection(yield* Effect.flip(Effect.provideContext(First.wrap(Effect.void), first))))
      assert.isTrue(Breaker.isRejection(yield* Effect.flip(Effect.provideContext(Second.wrap(Effect.void), second))))
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
})

describe("a configuration that does not hold", () => {
  /** Lines at `Warn`, with their fields. */
  const warnings = () => {
    const lines: Array<unknown> = []
    const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
      if (logLevel === "Warn") lines.push([String(message), fiber.getRef(References.CurrentLogAnnotations)])
    })
    return { lines, logs: Logger.layer([logger]) }
  }

  const unfenced: ReadonlyArray<readonly [policy: Breaker.Policy, fields: string]> = [
    [{ consistency: "strict", onStorageError: "fail" }, "consistency, onStorageError"],
    [{ consistency: { maxAge: "1 second" } }, "consistency"],
    [{ onStorageError: "fail" }, "onStorageError"],
    [{ evidence: "pooled" }, "evidence"]
  ]
  for (const [policy, fields] of unfenced) {
    it.effect(`one warning names what does not hold without fencing: ${fields} (F34)`, () => {
      const { lines, logs } = warnings()
      return Effect.gen(function*() {
        const breaker = yield* Breaker.make("unfenced", policy)
        yield* breaker.wrap(Effect.void)
        yield* breaker.wrap(Effect.void)
        const expected = [messages.notFenced.text, { circuit: "unfenced", backend: "null", fields }]
        assert.deepStrictEqual(lines, [expected])
      }).pipe(Effect.provide([Storage.NullStorageLive, logs]))
    })
  }

  it.effect("a policy that needs no fencing, and a storage that fences, get no warning (F34)", () => {
    const { lines, logs } = warnings()
    const strict = { consistency: "strict", onStorageError: "fail" } as const
    return Effect.gen(function*() {
      yield* Effect.provide(Breaker.make("local", { onStorageError: "allow" }), Storage.NullStorageLive)
      yield* Effect.provide(Breaker.make("strict", strict), Storage.MemoryStorageLive)
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(logs))
  })

  it.effect("one warning says that a service is on two storages in memory at once (F34)", () => {
    class Split extends Breaker.Service<Split>()("split", one) {}
    class SplitKeys extends Breaker.KeyedService<SplitKeys>()("split-keys", one) {}
    const { lines, logs } = warnings()
    return Effect.gen(function*() {
      const [here, there] = [yield* builder, yield* builder]
      yield* here(Split.layer)
      yield* here(Layer.fresh(Split.layer))
      assert.deepStrictEqual(lines, [])
      yield* there(Split.layer)
      const expected = [messages.servedTwice.text, { circuit: "split", service: "Split" }]
      assert.deepStrictEqual(lines, [expected])
      const third = yield* builder
      yield* third(Split.layer)
      assert.deepStrictEqual(lines, [expected])
      yield* here(SplitKeys.layer)
      yield* there(SplitKeys.layer)
      assert.deepStrictEqual(lines[1], [messages.servedTwice.text, { circuit: "split-keys/", service: "SplitKeys" }])
    }).pipe(Effect.provide(logs))
  })

  it.effect("no warning where one storage comes after the other, or where storages are of different kinds (F34)", () => {
    class Moved extends Breaker.Service<Moved>()("moved", one) {}
    const { lines, logs } = warnings()
    return Effect.gen(function*() {
      for (let i = 0; i < 3; i++) {
        yield* Effect.scoped(Effect.gen(function*() {
          const build = yield* builder
          yield* build(Moved.layer)
        }))
      }
      const build = yield* builder
      yield* build(Moved.layer)
      yield* Layer.build(Layer.provide(Layer.fresh(Moved.layer), Storage.NullStorageLive))
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(logs))
  })
})
