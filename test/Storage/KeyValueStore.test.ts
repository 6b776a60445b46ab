import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { KeyValueStore } from "effect/persistence"
import { TestClock } from "effect/testing"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { circuitOf, failures, FORCED, liveSleep, times } from "../../src/conformance/Law.ts"
import * as Sqlite from "../../src/layers/Sqlite.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as KeyValueStorage from "../../src/Storage/KeyValueStore.ts"
import type { Capabilities, Storage } from "../../src/Storage/Storage.ts"
import { build, freshDirectory } from "../file/support.ts"

const capabilities: Capabilities = { shared: false, durable: true, pushes: false, history: true, fences: true }

const PREFIX = "circuit_breaker:"

/** A store that all storages of a test share. */
const memory = () => {
  const texts = new Map<string, string>()
  const state = { isDown: false }
  const answer = <A>(method: string, f: () => A) =>
    Effect.suspend(() =>
      state.isDown
        ? Effect.fail(new KeyValueStore.KeyValueStoreError({ method, message: "cut off" }))
        : Effect.map(Effect.yieldNow, f)
    )
  const layer = Layer.succeed(
    KeyValueStore.KeyValueStore,
    KeyValueStore.makeStringOnly({
      get: (key) => answer("get", () => texts.get(key)),
      set: (key, text) => answer("set", () => texts.set(key, text)),
      remove: (key) => answer("remove", () => texts.delete(key)),
      clear: answer("clear", () => texts.clear()),
      size: answer("size", () => texts.size),
      keys: answer("keys", () => [...texts.keys()])
    })
  )
  return { layer, state, texts }
}

const rewriteIn = (layer: Layer.Layer<KeyValueStore.KeyValueStore>): NonNullable<Conformance.Params["rewrite"]> =>
(
  circuit,
  f
) =>
  Effect.gen(function*() {
    const store = yield* KeyValueStore.KeyValueStore
    const { record, ...rest } = JSON.parse((yield* store.get(`${PREFIX}${circuit}`)) ?? "{}")
    const next = f(record)
    if (next !== record) yield* store.set(`${PREFIX}${circuit}`, JSON.stringify({ ...rest, record: next }))
  }).pipe(Effect.provide(layer))

describe("conformance: a key-value store in memory", () => {
  const { layer, state } = memory()
  const laws = Conformance.laws({
    capabilities,
    layer: (options) => Layer.provide(KeyValueStorage.layerKeyValueStore(options), layer),
    advance: TestClock.adjust,
    maxBlocking: "250 millis",
    rewrite: rewriteIn(layer),
    outage: Effect.acquireRelease(
      Effect.sync(() => {
        state.isDown = true
      }),
      () =>
        Effect.sync(() => {
          state.isDown = false
        })
    )
  })
  for (const law of laws) it.effect(law.name, () => law.check)
})

const fileSystem = (directory: string) =>
  Layer.orDie(KeyValueStore.layerFileSystem(directory)).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

describe("conformance: a key-value store of files", () => {
  const layer = fileSystem(freshDirectory())
  const laws = Conformance.laws({
    capabilities,
    layer: (options) => Layer.provide(KeyValueStorage.layerKeyValueStore(options), Layer.fresh(layer)),
    advance: TestClock.adjust,
    maxBlocking: "250 millis",
    rewrite: rewriteIn(layer)
  })
  for (const law of laws) it.effect(law.name, () => law.check)
})

describe("a key-value storage", () => {
  const list = (storage: Storage) => Effect.map(Stream.runCollect(storage.list), (names) => names.toSorted())

  it.effect("a key-value storage has a default backend and capabilities, or the given ones", () =>
    Effect.gen(function*() {
      const { layer } = memory()
      const plain = yield* Effect.provide(build(KeyValueStorage.layerKeyValueStore()), layer)
      assert.deepStrictEqual([plain.backend, plain.capabilities], ["key-value", capabilities])
      const given = KeyValueStorage.layerKeyValueStore({ backend: "tab", durable: false })
      const { backend, capabilities: { durable } } = yield* Effect.provide(build(given), layer)
      assert.deepStrictEqual([backend, durable], ["tab", false])
    }))

  it.effect("a key-value storage works on Effect's stores in memory and in a table", () =>
    Effect.gen(function*() {
      const sqlite = Sqlite.layer({ file: join(freshDirectory(), "store.sqlite") })
      for (const layer of [KeyValueStore.layerMemory, Layer.provide(KeyValueStore.layerSql(), sqlite)]) {
        const storage = yield* build(Layer.provide(KeyValueStorage.layerKeyValueStore(), layer))
        const it = circuitOf(storage, "payments")
        yield* it.open()
        assert.strictEqual((yield* it.read).state._tag, "Open")
        assert.deepStrictEqual(yield* list(storage), ["payments"])
      }
    }))

  it.effect("a key-value storage keeps to its prefix", () =>
    Effect.gen(function*() {
      const { layer, texts } = memory()
      texts.set("mine", "not a circuit")
      const storages = yield* Effect.provide(
        Effect.forEach(["a:", "b:"], (prefix) => build(KeyValueStorage.layerKeyValueStore({ prefix }))),
        layer
      )
      yield* circuitOf(storages[0]!, "payments").report(failures(1))
      assert.deepStrictEqual([...texts.keys()], ["mine", "a:payments"])
      assert.deepStrictEqual([yield* list(storages[0]!), yield* list(storages[1]!)], [["payments"], []])
    }))

  it.effect("a key-value storage counts every one of many concurrent reports, and combines their writes", () =>
    Effect.gen(function*() {
      const { layer } = memory()
      let writes = 0
      const counting = Layer.effect(
        KeyValueStore.KeyValueStore,
        Effect.map(KeyValueStore.KeyValueStore, (store) => ({
          ...store,
          set: (key: string, value: string | Uint8Array) =>
            Effect.suspend(() => {
              writes++
              return store.set(key, value)
            })
        }))
      ).pipe(Layer.provide(layer))
      const storage = yield* Effect.provide(build(KeyValueStorage.layerKeyValueStore()), counting)
      const it = circuitOf(storage, "payments")
      yield* Effect.forEach(times(100), (index) => it.send({ instance: `${index}`, sequence: 1, delta: failures(1) }), {
        concurrency: "unbounded"
      })
      assert.strictEqual((yield* it.read).lifetime.failure, 100)
      assert.isAtMost(writes, 3)
    }))

  it.effect("a key-value storage does not fail other requests for an invalid one", () =>
    Effect.gen(function*() {
      const { layer } = memory()
      const storage = yield* Effect.provide(build(KeyValueStorage.layerKeyValueStore()), layer)
      const it = circuitOf(storage, "payments")
      const reports = [failures(1), failures(NaN), failures(1)].map((delta, index) =>
        Effect.isSuccess(it.send({ instance: `${index}`, sequence: 1, delta }))
      )
      // The first request holds the circuit while the others arrive.
      const answers = yield* Effect.all([it.report(failures(1)), ...reports], { concurrency: "unbounded" })
      assert.deepStrictEqual(answers.slice(1), [true, false, true])
      assert.strictEqual((yield* it.read).lifetime.failure, 3)
    }))

  it.effect("a damaged value in a key-value store is Invalid, listed, and left as it is", () =>
    Effect.gen(function*() {
      const { layer, texts } = memory()
      const storage = yield* Effect.provide(build(KeyValueStorage.layerKeyValueStore()), layer)
      const it = circuitOf(storage, "payments")
      yield* it.open()
      const half = texts.get(`${PREFIX}payments`)!.slice(0, 100)
      texts.set(`${PREFIX}payments`, half)
      for (const operation of [Effect.asVoid(it.read), Effect.asVoid(it.operate({ _tag: "Reset" }))]) {
        const error = yield* Effect.flip(operation)
        assert.deepStrictEqual([error._tag, "reason" in error && error.reason], ["StorageError", "Invalid"])
        assert.match(String("cause" in error && error.cause), /key "circuit_breaker:payments": .*JSON/)
      }
      assert.deepStrictEqual(yield* list(storage), ["payments"])
      yield* TestClock.adjust("1 day")
      assert.strictEqual(texts.get(`${PREFIX}payments`), half)
    }))

  it.effect("a key-value storage deletes expired circuits by itself", () =>
    Effect.gen(function*() {
      const { layer, texts } = memory()
      const storage = yield* Effect.provide(
        build(KeyValueStorage.layerKeyValueStore({ idleTimeToLive: "10 minutes" })),
        layer
      )
      const long = "n".repeat(1000)
      yield* circuitOf(storage, "payments").report(failures(1))
      yield* circuitOf(storage, long).report(failures(1))
      yield* circuitOf(storage, "kept").operate({ _tag: "Override", ...FORCED })
      assert.deepStrictEqual(yield* list(storage), ["kept", long, "payments"])
      yield* TestClock.adjust("21 minutes")
      // Digests are computed in real time, on other threads.
      for (let tries = 0; tries < 1000 && texts.size > 1; tries++) yield* liveSleep(5)
      assert.deepStrictEqual([...texts.keys()], [`${PREFIX}kept`])
    }))

  it.effect("a key-value storage with cleanUp false deletes an expired circuit only when it is used", () =>
    Effect.gen(function*() {
      const { layer, texts } = memory()
      const storage = yield* Effect.provide(build(KeyValueStorage.layerKeyValueStore({ cleanUp: false })), layer)
      yield* circuitOf(storage, "payments").report(failures(1))
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual([yield* list(storage), texts.size], [[], 1])
      yield* circuitOf(storage, "payments").read
      assert.strictEqual(texts.size, 0)
    }))

  it.live("a key-value storage makes keys that fit into file names", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const storage = yield* Effect.provide(build(KeyValueStorage.layerKeyValueStore()), fileSystem(directory))
      const names = ["", "..", "é".repeat(500), "🦆".repeat(60), `a~${"0".repeat(64)}`]
      for (const [index, name] of names.entries()) yield* circuitOf(storage, name).report(failures(index + 1))
      for (const [index, name] of names.entries()) {
        assert.strictEqual((yield* circuitOf(storage, name).read).lifetime.failure, index + 1)
      }
      assert.deepStrictEqual(yield* list(storage), names.toSorted())
      for (const file of readdirSync(directory)) assert.isAtMost(file.length, 255)
    }))

  it("a key-value storage refuses invalid options at once", () => {
    assert.throws(
      () => KeyValueStorage.layerKeyValueStore({ prefix: "" }),
      /^Storage "key-value": prefix must be some .*, got ""$/
    )
    assert.throws(() => KeyValueStorage.layerKeyValueStore({ prefix: "\ud800" }), RangeError)
    assert.throws(() => KeyValueStorage.layerKeyValueStore({ idleTimeToLive: 0 }), /idleTimeToLive must be/)
  })
})
