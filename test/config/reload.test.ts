/** A configuration that is read again while its breakers run. */
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Fiber, FileSystem, Layer, Logger, References, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { execFile } from "node:child_process"
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import * as BreakerConfig from "../../src/config/BreakerConfig.ts"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import { messages } from "../../src/internal/Messages.ts"
import { root } from "../support/docs.ts"
import { eventually } from "../support/machine.ts"
import { temporaryDirectory } from "../support/servers/processes.ts"
import { failTimes, listen, untilQuiet } from "../utils.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(3),
  openFor: "1 minute",
  timeout: Breaker.unset<Duration.Input>()
}) {}
class Hosts extends Breaker.KeyedService<Hosts>()("hosts", {}) {}

/** A file in memory whose text may change. */
class Text {
  text: string
  constructor(text: string) {
    this.text = text
  }
  readonly layer = FileSystem.layerNoop({
    stat: () => Effect.succeed({ type: "File" } as FileSystem.File.Info),
    stream: () => Stream.suspend(() => Stream.make(new TextEncoder().encode(this.text)))
  })
}

const services = (text: string) => `circuit_breaker:\n  services:\n    payments:\n      ${text}\n`

const provide = (file: Text, environment: Record<string, string> = {}) =>
  Effect.provide(
    Layer.mergeAll(BreakerConfig.layerFor(Payments), BreakerConfig.layerFor(Hosts)).pipe(
      Layer.provideMerge(BreakerConfig.layer({ file: "breakers.yaml" })),
      Layer.provide(Storage.MemoryStorageLive),
      Layer.provide(file.layer),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(environment)))
    )
  )

const reload = BreakerConfig.BreakerConfig.use((config) => config.reload)

/** Runs with a logger that keeps what is logged. */
const withLines = <A, E, R>(
  f: (
    lines: ReadonlyArray<readonly [text: string, fields: Readonly<Record<string, unknown>>]>
  ) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const lines: Array<readonly [string, Readonly<Record<string, unknown>>]> = []
    const logger = Logger.make<unknown, void>(({ fiber, message }) => {
      lines.push([String(message), fiber.getRef(References.CurrentLogAnnotations)])
    })
    return Effect.provide(f(lines), Logger.layer([logger]))
  })

describe("a reload", () => {
  it.effect("a reload changes the policies that are configured otherwise, and keeps state, counts and open time", () => {
    const file = new Text(services("failure_threshold: 2"))
    return Effect.gen(function*() {
      const payments = yield* Payments
      yield* failTimes(payments, 2)
      yield* TestClock.adjust("10 seconds")
      const before = yield* payments.snapshot
      const events = yield* listen(payments)
      file.text = services("failure_threshold: 5\n      open_for: 5\n      timeout: 2")
      const reloaded = yield* reload
      assert.strictEqual(reloaded.source, "breakers.yaml")
      assert.deepStrictEqual(reloaded.circuits.map(({ changed, name }) => [name, changed.map(({ field }) => field)]), [
        ["payments", ["trip", "openFor", "halfOpen.lease", "halfOpen.timeout", "timeout"]]
      ])
      assert.deepStrictEqual(yield* payments.snapshot, before)
      assert.deepStrictEqual((yield* events).map(({ _tag }) => _tag), ["Reconfigured"])
      assert.deepStrictEqual((yield* payments.policy).openFor, Duration.seconds(5))
    }).pipe(provide(file))
  })

  it.effect("a field that is set no longer has the value of the class, or its default", () => {
    const file = new Text(services("open_for: 5\n      timeout: 2\n      half_open:\n        probes: 3"))
    return Effect.gen(function*() {
      file.text = "circuit_breaker: {}\n"
      const { circuits } = yield* reload
      assert.deepStrictEqual(circuits[0]!.changed.map(({ field, from, to }) => [field, from, to]), [
        ["openFor", "5 s", "60 s"],
        ["halfOpen.probes", "3", "1"],
        ["halfOpen.lease", "3 s", "30 s"],
        ["halfOpen.timeout", "2 s", "none"],
        ["timeout", "2 s", "none"]
      ])
      assert.isUndefined((yield* (yield* Payments).policy).timeout)
      assert.deepStrictEqual((yield* reload).circuits, [])
    }).pipe(provide(file))
  })

  it.effect("the environment still comes before the file, and a change by hand gives way to what is read", () => {
    const file = new Text(services("open_for: 5"))
    return Effect.gen(function*() {
      yield* Payments.reconfigure({ openFor: "9 seconds", syncEvery: "3 seconds" })
      file.text = services("open_for: 6\n      sync_every: 4")
      const { circuits } = yield* reload
      assert.deepStrictEqual(circuits[0]!.changed.map(({ field, from, to }) => [field, from, to]), [
        ["openFor", "9 s", "7 s"],
        ["syncEvery", "3 s", "4 s"]
      ])
    }).pipe(provide(file, { PAYMENTS_OPEN_FOR: "7" }))
  })

  it.effect("a keyed breaker is reloaded for all of its keys, with its capacity", () => {
    const file = new Text("circuit_breaker: {}\n")
    return Effect.gen(function*() {
      const hosts = yield* Hosts
      yield* hosts.wrap(Effect.void, { key: "a" })
      file.text = "circuit_breaker:\n  services:\n    hosts:\n      failure_threshold: 1\n      capacity: 7\n"
      assert.deepStrictEqual((yield* reload).circuits.map(({ name }) => name), ["hosts"])
      yield* Effect.ignore(hosts.wrap(Effect.fail("no"), { key: "a" }))
      assert.strictEqual(yield* hosts.get("a").state, "Open")
      assert.strictEqual((yield* hosts.policy).capacity, 7)
    }).pipe(provide(file))
  })

  it.effect("a reading with a problem changes nothing, of no breaker, and says where it is", () => {
    const file = new Text("circuit_breaker: {}\n")
    return Effect.gen(function*() {
      const services = (payments: string) =>
        `circuit_breaker:
  services:
    hosts:
      open_for: 5
    payments:
      ${payments}
`
      for (
        const [text, problem] of [
          [services("open_for: no"), /^breakers.yaml:6: circuit_breaker.services.payments.open_for must be /],
          [services("max_concurrent: 2"), /^breakers.yaml:6: .*max_concurrent must be .*BulkheadFullError/],
          [services("sync_every: 8000"), /^breakers.yaml:6: .*sync_every must be at most .*idleTimeToLive/],
          ["circuit_breaker: {", /^breakers.yaml/]
        ] as const
      ) {
        file.text = text
        const error = yield* Effect.flip(reload)
        assert.match(error.message, problem)
        assert.strictEqual((yield* (yield* Hosts).policy).openFor, undefined)
      }
    }).pipe(provide(file))
  })

  it.effect("results are heard by whoever listens, those with problems too", () => {
    const file = new Text(services("open_for: 5"))
    return Effect.gen(function*() {
      const { reloads } = yield* BreakerConfig.BreakerConfig
      const heard = yield* Effect.forkChild(Stream.runCollect(Stream.take(reloads, 2)), { startImmediately: true })
      yield* untilQuiet
      file.text = services("open_for: 6")
      yield* reload
      file.text = services("open_for: no")
      yield* Effect.flip(reload)
      assert.deepStrictEqual((yield* Fiber.join(heard)).map(Result.isSuccess), [true, false])
    }).pipe(provide(file))
  })

  it.effect("a breaker that is built after a reload has what was read", () => {
    const file = new Text(services("open_for: 5"))
    return Effect.gen(function*() {
      file.text = services("open_for: 6")
      yield* reload
      const live = Layer.provide(BreakerConfig.layerFor(Payments), Storage.MemoryStorageLive)
      const context = yield* Layer.build(live)
      const { policy } = yield* Effect.provide(Payments, context)
      assert.deepStrictEqual((yield* policy).openFor, Duration.seconds(6))
    }).pipe(
      Effect.provide(BreakerConfig.layer({ file: "breakers.yaml" })),
      Effect.provide(file.layer)
    )
  })

  it.effect("settings that are read at the start only are told where they differ, without their values", () => {
    const file = new Text("redis:\n  url: redis://a:secret@h\n")
    return withLines((lines) =>
      Effect.gen(function*() {
        file.text = "circuit_breaker:\n  enabled: false\n  persistence: file\nredis:\n  url: redis://a:other@h\n"
        yield* reload
        const fields = lines.filter(([text]) => text === messages.reloadFixed.text).map(([, fields]) => fields)
        assert.deepStrictEqual(fields, [{ source: "breakers.yaml", settings: "enabled, persistence, redis.url" }])
        assert.notInclude(JSON.stringify(lines), "other")
      }).pipe(provide(file))
    )
  })
})

describe("a watch", () => {
  /** Runs with a watched file in a directory of its own. `write` writes it, and `opensFor` waits until that is the policy's `openFor`. */
  const watched = <A, E, R>(
    f: (of: {
      readonly path: string
      readonly lines: ReadonlyArray<readonly [string, Readonly<Record<string, unknown>>]>
      readonly write: (seconds: number | string) => Effect.Effect<void>
      readonly opensFor: (seconds: number) => Effect.Effect<void, never, Payments>
    }) => Effect.Effect<A, E, R>,
    first: (directory: string) => Promise<string> = async (directory) => join(directory, "breakers.yaml")
  ) =>
    withLines((lines) =>
      Effect.gen(function*() {
        const directory = yield* Effect.acquireRelease(
          Effect.promise(temporaryDirectory),
          (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
        )
        const path = yield* Effect.promise(() => first(directory))
        const write = (seconds: number | string) =>
          Effect.promise(() => writeFile(path, services(`open_for: ${seconds}`)))
        yield* write(1)
        const opensFor = (seconds: number) =>
          eventually(
            `the policy opens for ${seconds} s`,
            Effect.gen(function*() {
              const { openFor } = yield* (yield* Payments).policy
              return Duration.toSeconds(Duration.fromInputUnsafe(openFor as Duration.Input)) === seconds
            })
          )
        const live = BreakerConfig.layerFor(Payments).pipe(
          Layer.provideMerge(BreakerConfig.layer({ file: path, watch: true })),
          Layer.provide(Storage.MemoryStorageLive),
          Layer.provide(NodeFileSystem.layer)
        )
        return yield* Effect.provide(f({ path, lines, write, opensFor }), live)
      })
    ).pipe(Effect.scoped)

  it.live("a file that is written, replaced by a rename, deleted and brought back is read each time", () =>
    watched(({ lines, opensFor, path, write }) =>
      Effect.gen(function*() {
        yield* opensFor(1)
        yield* write(2)
        yield* opensFor(2)
        // As editors do it.
        yield* Effect.promise(() => writeFile(`${path}~`, services("open_for: 3")))
        yield* Effect.promise(() => rename(`${path}~`, path))
        yield* opensFor(3)
        yield* Effect.promise(() => rm(path))
        yield* eventually(
          "the missing file is reported",
          Effect.sync(() => lines.some(([text]) => text === messages.reloadFailed.text))
        )
        yield* opensFor(3)
        yield* write(4)
        yield* opensFor(4)
      })
    ))

  it.live("a bad file changes nothing, is reported with its line, and the next good one is read", () =>
    watched(({ lines, opensFor, path, write }) =>
      Effect.gen(function*() {
        yield* write("soon")
        const reported = () => lines.filter(([text]) => text === messages.reloadFailed.text)
        yield* eventually("the bad file is reported", Effect.sync(() => reported().length > 0))
        assert.include(String(reported()[0]![1]["problems"]), `${path}:4: circuit_breaker.services.payments.open_for`)
        yield* opensFor(1)
        yield* write(2)
        yield* opensFor(2)
      })
    ))

  it.live("a file that is written in parts is read as a whole", () =>
    watched(({ lines, opensFor, path }) =>
      Effect.gen(function*() {
        const text = services("open_for: 7")
        for (let end = 0; end <= text.length; end += 10) {
          yield* Effect.promise(() => writeFile(path, text.slice(0, end)))
        }
        yield* Effect.promise(() => writeFile(path, text))
        yield* opensFor(7)
        assert.notInclude(lines.map(([text]) => text), messages.reloadFailed.text)
      })
    ))

  it.live("a link to another directory, as Kubernetes replaces one, is followed", () =>
    watched(
      ({ opensFor, path }) =>
        Effect.gen(function*() {
          const mounted = join(path, "..")
          yield* Effect.promise(async () => {
            await mkdir(join(mounted, "v2"))
            await writeFile(join(mounted, "v2", "breakers.yaml"), services("open_for: 2"))
            await symlink("v2", join(mounted, "..data_tmp"))
            await rename(join(mounted, "..data_tmp"), join(mounted, "..data"))
          })
          yield* opensFor(2)
        }),
      async (directory) => {
        await mkdir(join(directory, "v1"))
        await symlink("v1", join(directory, "..data"))
        await symlink("..data/breakers.yaml", join(directory, "breakers.yaml"))
        return join(directory, "breakers.yaml")
      }
    ))

  it.live("neither the watch nor its timers keep the process alive", () =>
    watched(({ path }) =>
      Effect.gen(function*() {
        const module = (name: string) => JSON.stringify(pathToFileURL(join(root, "src", name)).href)
        const program = `
          import { NodeFileSystem } from "@effect/platform-node"
          import { Effect, Layer, Scope } from "effect"
          const { layer } = await import(${module("config/BreakerConfig.ts")})
          const scope = Scope.makeUnsafe()
          const live = Layer.provide(layer({ file: ${JSON.stringify(path)}, watch: true }), NodeFileSystem.layer)
          await Effect.runPromise(Layer.buildWithScope(live, scope))
          // Long enough for the directory to be watched.
          setTimeout(() => console.log("ended"), 500)`
        const { stdout } = yield* Effect.promise(() =>
          promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], { cwd: root })
        )
        assert.match(stdout, /ended\n$/)
      })
    ))

  it.effect("a watch without a file is told", () =>
    withLines((lines) =>
      Effect.gen(function*() {
        yield* BreakerConfig.BreakerConfig
        assert.include(lines.map(([text]) => text), messages.nothingToWatch.text)
      }).pipe(
        Effect.provide(BreakerConfig.layer({ watch: true })),
        Effect.provide(FileSystem.layerNoop({})),
        Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord({}))
      )
    ))

  /** A file system in which a file changes and nobody tells. */
  it.effect("where a file system tells of no changes, the file is looked at", () => {
    const file = new Text(services("open_for: 1"))
    let written = 1
    const layer = FileSystem.layerNoop({
      stat: () =>
        Effect.sync(() =>
          ({ type: "File", dev: 1n, ino: { _tag: "None" }, mtime: { _tag: "None" }, size: written }) as never
        ),
      stream: () => Stream.suspend(() => Stream.make(new TextEncoder().encode(file.text)))
    })
    return Effect.gen(function*() {
      file.text = services("open_for: 2")
      written++
      yield* TestClock.adjust("4 seconds")
      const { policy } = yield* Payments
      assert.deepStrictEqual((yield* policy).openFor, Duration.seconds(1))
      yield* TestClock.adjust("1300 millis")
      yield* untilQuiet
      assert.deepStrictEqual((yield* policy).openFor, Duration.seconds(2))
    }).pipe(
      Effect.provide(
        BreakerConfig.layerFor(Payments).pipe(
          Layer.provideMerge(BreakerConfig.layer({ file: "breakers.yaml", watch: true })),
          Layer.provide(Storage.MemoryStorageLive),
          Layer.provide(layer)
        )
      )
    )
  })
})
