/** The ready-made layers, configured by environment variables. */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer } from "effect"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { vi } from "vitest"
import { circuitOf } from "../../src/conformance/Law.ts"
import { FileStorageLive, layer, layerConfig } from "../../src/layers/FileStorageLive.ts"
import { StorageLive } from "../../src/layers/StorageLive.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { eventually } from "../support/machine.ts"
import { freshDirectory, versionsOf } from "./support.ts"

/** The backend of a storage, and the state of a circuit that was opened in it. */
const used = <E>(live: Layer.Layer<Storage, E>, env: Readonly<Record<string, string>> = {}) =>
  Effect.flatMap(Storage, (storage) => {
    const it = circuitOf(storage, "payments")
    return Effect.map(Effect.andThen(it.open(), it.read), ({ state }) => [storage.backend, state._tag])
  }).pipe(
    Effect.provide(Layer.fresh(live).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env)))))
  )

describe("ready-made layers of files", () => {
  it.live("FileStorageLive keeps circuits where the environment says", () =>
    Effect.gen(function*() {
      const env = { CIRCUIT_BREAKER_FILE_DIR: join(freshDirectory(), "circuits") }
      assert.deepEqual(yield* used(FileStorageLive, env), ["file", "Open"])
      assert.lengthOf(versionsOf(env.CIRCUIT_BREAKER_FILE_DIR, "payments"), 1)
      assert.deepEqual(yield* used(StorageLive, { ...env, CIRCUIT_BREAKER_PERSISTENCE: "file" }), ["file", "Open"])
    }))

  it.live("FileStorageLive keeps circuits in the working directory by default", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      yield* Effect.acquireUseRelease(
        Effect.sync(() => vi.spyOn(process, "cwd").mockReturnValue(directory)),
        () => used(FileStorageLive),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      assert.isTrue(existsSync(join(directory, ".circuit_breaker", "payments")))
    }))

  it.live("the layer of files takes options, or reads them from a Config", () =>
    Effect.gen(function*() {
      const [one, other] = [freshDirectory(), freshDirectory()]
      assert.deepEqual(yield* used(layer({ directory: one, backups: 0 })), ["file", "Open"])
      const wrapped = layerConfig({ directory: Config.String("DIR"), backups: Config.succeed(0) })
      assert.deepEqual(yield* used(wrapped, { DIR: other }), ["file", "Open"])
      for (const directory of [one, other]) assert.lengthOf(versionsOf(directory, "payments"), 1)
      assert.match(String(yield* Effect.flip(used(wrapped))), /DIR/)
    }))

  it.live("an expired circuit leaves no folder once another storage has started, also with an undefined option (F28)", () =>
    Effect.gen(function*() {
      const directory = freshDirectory()
      const live = layer({ directory, idleTimeToLive: "1 second", removeEmptyDirectory: undefined })
      yield* Effect.flatMap(Storage, (storage) => circuitOf(storage, "payments").operate({ _tag: "Reset" })).pipe(
        Effect.provide(Layer.fresh(live))
      )
      yield* Effect.sleep("1100 millis")
      // The clean-up runs when the storage starts.
      yield* Effect.provide(
        Effect.gen(function*() {
          yield* eventually(
            "the folder of the expired circuit is removed",
            Effect.sync(() => !existsSync(join(directory, "payments")))
          )
        }),
        Layer.fresh(live)
      )
    }))
})
