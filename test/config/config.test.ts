import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Fiber, FileSystem, Layer, Logger, References, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as BreakerConfig from "../../src/config/BreakerConfig.ts"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import { messages } from "../../src/internal/Messages.ts"
import { classOf, configuration, keyedClassOf, layerFor, messageOf, policyOf, type Sources } from "./support.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(5),
  timeout: Breaker.unset<Duration.Input>()
}) {}
class Search extends Breaker.Service<Search>()("search", { openFor: "10 seconds" }) {}
class Origins extends Breaker.KeyedService<Origins>()("http", { capacity: 1000 }) {}

const yaml = (text: string) => ["yaml", text] as const
const services = (text: string) => yaml(`circuit_breaker: { services: { ${text} } }`)

const failTimes = <Self, Name extends string>(
  service: Breaker.ServiceClass<Self, Name, Breaker.Policy>,
  times: number
): Effect.Effect<unknown, never, Self> => Effect.replicateEffect(Effect.ignore(service.wrap(Effect.fail("no"))), times)

/** The lines of these messages that an effect logs. */
const linesOf = <A, E, R>(self: Effect.Effect<A, E, R>, ...of: ReadonlyArray<{ readonly text: string }>) =>
  Effect.suspend(() => {
    const lines: Array<readonly [level: string, fields: unknown]> = []
    const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
      if (of.some(({ text }) => text === String(message))) {
        lines.push([logLevel, fiber.getRef(References.CurrentLogAnnotations)])
      }
    })
    return Effect.as(Effect.provide(self, Logger.layer([logger])), lines)
  })

const built = (sources: Sources) => Effect.provide(BreakerConfig.BreakerConfig, configuration(sources))

describe("layerFor", () => {
  it.effect("a breaker trips and times out as the environment says", () =>
    Effect.gen(function*() {
      const payments = yield* Payments
      yield* failTimes(Payments, 2)
      assert.strictEqual(yield* payments.state, "Open")
      yield* TestClock.adjust("3 seconds")
      const fiber = yield* Effect.forkChild(Effect.flip(Payments.wrap(Effect.never)), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "BreakerTimeoutError")
    }).pipe(
      Effect.provide(BreakerConfig.layerFor(Payments)),
      Effect.provide(configuration({
        environment: { PAYMENTS_FAILURE_THRESHOLD: "2", PAYMENTS_RECOVERY_TIMEOUT: "3", PAYMENTS_TIMEOUT: "2" }
      })),
      Effect.provide(Storage.MemoryStorageLive)
    ))

  it.effect("a keyed breaker keeps as many circuits as the file says", () =>
    Effect.gen(function*() {
      const origins = yield* Origins
      yield* Effect.forEach(["a", "b", "c"], (key) => origins.wrap(Effect.void, { key }))
      assert.strictEqual(yield* origins.size, 2)
    }).pipe(
      Effect.provide(BreakerConfig.layerFor(Origins)),
      Effect.provide(configuration({ file: services("http: { capacity: 2 }") })),
      Effect.provide(Storage.MemoryStorageLive)
    ))

  it("layerFor is one layer for each class, so that a program that asks twice has one breaker", () => {
    const asked = [BreakerConfig.layerFor(Payments), BreakerConfig.layerFor(Payments)]
    assert.strictEqual(asked[0], asked[1])
    assert.notStrictEqual<unknown>(BreakerConfig.layerFor(Payments), BreakerConfig.layerFor(Search))
  })

  const DECLARED =
    "must be declared where the policy is written (Breaker.unset does so without a value), because calls can then fail with"

  it.effect.each<readonly [name: string, field: string, error: string]>([
    ["timeout", "timeout: 2", "BreakerTimeoutError"],
    ["half_open.timeout", "half_open: { timeout: 2 }", "BreakerTimeoutError"],
    ["max_concurrent", "max_concurrent: 2", "BulkheadFullError"],
    ["on_storage_error", "on_storage_error: fail, consistency: strict", "StorageError"]
  ])(
    "config cannot add an error that the class does not declare: %s",
    ([name, field, error]) =>
      Effect.gen(function*() {
        const plain = class extends Breaker.Service<any>()("plain", {}) {} as ReturnType<typeof classOf>
        const inService = yield* messageOf(plain, { file: yaml(`circuit_breaker:\n services:\n  plain: { ${field} }`) })
        assert.include(inService, `breakers.yaml:3: circuit_breaker.services.plain.${name} ${DECLARED} ${error}, got `)
        const inDefaults = yield* messageOf(plain, { file: yaml(`circuit_breaker:\n defaults: { ${field} }`) })
        assert.include(inDefaults, `breakers.yaml:2: circuit_breaker.defaults.${name} ${DECLARED} ${error}, got `)
      })
  )

  it.effect("a class that declares the field takes it", () =>
    Effect.map(
      policyOf(classOf("declared"), {
        file: services("declared: { timeout: 2, max_concurrent: 3, on_storage_error: fail, consistency: strict }")
      }),
      ({ consistency, maxConcurrent, onStorageError, timeout }) =>
        assert.deepStrictEqual([timeout, maxConcurrent, consistency, onStorageError], [
          Duration.seconds(2),
          3,
          "strict",
          "fail"
        ])
    ))

  it.effect("what the environment and the class say together may be the problem", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* messageOf(classOf("longest", { maxOpenFor: "30 seconds" }), { environment: { LONGEST_OPEN_FOR: "60" } }),
        "LONGEST_OPEN_FOR: maxOpenFor must be a finite duration from 60000 ms to 31536000000 ms, got \"30 seconds\""
      )
    }))

  it.effect("all that is wrong with a service's variables is said at once", () =>
    Effect.map(
      messageOf(classOf("payments"), {
        environment: { PAYMENTS_TIMEOUT: "soon", PAYMENTS_FAILURE_THRESHOLD: "0", PAYMENTS_CONSISTENCY: "Strict" }
      }),
      (message) =>
        assert.deepStrictEqual(message.split("\n").map((line) => line.slice(0, line.indexOf(":"))), [
          "PAYMENTS_TIMEOUT",
          "PAYMENTS_CONSISTENCY"
        ])
    ))

  it.effect("a trip policy in a variable has durations with units, because Breaker.config takes a number for milliseconds", () =>
    Effect.gen(function*() {
      const trip = (within: unknown) => ({
        environment: { TRIPS_TRIP: JSON.stringify({ _tag: "Failures", count: 3, within }) }
      })
      const { trip: read } = yield* policyOf(classOf("trips"), trip("30 seconds"))
      assert.deepStrictEqual(read, { _tag: "Failures", count: 3, within: Duration.seconds(30) })
      assert.strictEqual(
        yield* messageOf(classOf("trips"), trip(30)),
        "TRIPS_TRIP: TRIPS_TRIP.within must be a text with its unit, such as \"30 seconds\", because a bare number in this JSON " +
          "can be taken for milliseconds, got 30"
      )
    }))

  it.effect("two services with one prefix are refused where the environment sets it", () =>
    Effect.gen(function*() {
      const file = services("payments-eu: { open_for: 3 }, payments_eu: { open_for: 4 }")
      assert.strictEqual(yield* messageOf(classOf("payments-eu"), { file }), "no problem")
      assert.strictEqual(
        yield* messageOf(classOf("payments-eu"), { file, environment: { PAYMENTS_EU_OPEN_FOR: "5" } }),
        "PAYMENTS_EU_OPEN_FOR: must be left out, because it would be of both \"payments-eu\" and \"payments_eu\": rename one of " +
          "them, got \"5\""
      )
      // The same for a longer name that another service's field makes of it, and for classes that no file names.
      const both = Layer.mergeAll(layerFor(classOf("payments")), layerFor(classOf("payments_half_open")))
      const error = yield* Effect.flip(
        Effect.void.pipe(
          Effect.provide(both),
          Effect.provide(configuration({ environment: { PAYMENTS_HALF_OPEN_TIMEOUT: "1" } })),
          Effect.provide(Storage.MemoryStorageLive)
        )
      )
      assert.include(error.message, "PAYMENTS_HALF_OPEN_TIMEOUT: must be left out, because it would be of both")
    }))

  it.effect("a misspelt variable of the service is logged", () =>
    Effect.map(
      linesOf(policyOf(classOf("payments"), { environment: { PAYMENTS_TIMOUT: "3" } }), messages.variablesMisspelt),
      (lines) =>
        assert.deepStrictEqual(lines, [["Warn", {
          prefix: "PAYMENTS",
          variables: "PAYMENTS_TIMOUT (did you mean PAYMENTS_TIMEOUT?)"
        }]])
    ))
})

describe("layer", () => {
  it.effect("service says which source gave each field", () =>
    Effect.gen(function*() {
      const config = yield* built({
        file: yaml("circuit_breaker:\n services:\n  payments:\n   failure_threshold: 3\n   open_for: 9"),
        environment: { PAYMENTS_ERROR_RATE_THRESHOLD: "0.5", PAYMENTS_TIMEOUT: "2", OTHER_TIMEOUT: "3" }
      })
      const { data, from } = yield* config.service("payments")
      assert.deepStrictEqual(data.openFor, Duration.seconds(9))
      assert.deepStrictEqual(from, {
        trip: "breakers.yaml:4, PAYMENTS_ERROR_RATE_THRESHOLD",
        openFor: "breakers.yaml:5",
        timeout: "PAYMENTS_TIMEOUT"
      })
      assert.deepStrictEqual((yield* config.service("other")).from, { timeout: "OTHER_TIMEOUT" })
      assert.deepStrictEqual(yield* config.service("nobody"), { data: {}, from: {} })
    }))

  it.effect("CIRCUIT_BREAKER_CONFIG names the file, and the option comes first", () =>
    Effect.gen(function*() {
      const files: Readonly<Record<string, string>> = {
        "a.yaml": "redis: { pool_size: 1 }",
        "b.yaml": "redis: { pool_size: 2 }"
      }
      const read = (options?: BreakerConfig.Options) =>
        Effect.flatMap(BreakerConfig.BreakerConfig, ({ file }) => file).pipe(
          Effect.provide(BreakerConfig.layer(options)),
          Effect.provide(FileSystem.layerNoop({
            stat: () => Effect.succeed({ type: "File" } as FileSystem.File.Info),
            stream: (path) => Stream.make(new TextEncoder().encode(files[path]))
          })),
          Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord({ CIRCUIT_BREAKER_CONFIG: " a.yaml " })))
        )
      assert.deepStrictEqual(yield* read(), { redis: { pool_size: 1 } })
      assert.deepStrictEqual(yield* read({ file: "b.yaml" }), { redis: { pool_size: 2 } })
    }))

  it.effect("one line says what was understood", () =>
    Effect.gen(function*() {
      const file = yaml("circuit_breaker:\n enabled: true\n persistence: redis\n services: { a: {}, b: {} }")
      const lines = yield* linesOf(
        built({ file, environment: { CIRCUIT_BREAKER_ENABLED: " FALSE " } }),
        messages.configRead
      )
      assert.deepStrictEqual(lines, [["Info", {
        source: "breakers.yaml",
        enabled: "false (CIRCUIT_BREAKER_ENABLED)",
        persistence: "redis (breakers.yaml:3)",
        services: "a, b"
      }]])
      assert.deepStrictEqual(yield* linesOf(built({}), messages.configRead), [["Info", {
        source: "the environment",
        enabled: "true (the default)",
        persistence: "memory (the default)",
        services: ""
      }]])
    }))

  it.effect.each(["False", "FALSE", "off", "0", " no ", "N"])(
    "CIRCUIT_BREAKER_ENABLED=%j switches breakers off",
    (text) =>
      Effect.gen(function*() {
        const search = yield* Search
        yield* failTimes(Search, 9)
        assert.strictEqual((yield* search.snapshot).statistics.failure, 0)
      }).pipe(
        Effect.provide(BreakerConfig.layerFor(Search)),
        Effect.provide(configuration({ environment: { CIRCUIT_BREAKER_ENABLED: text } })),
        Effect.provide(Storage.MemoryStorageLive),
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord({ CIRCUIT_BREAKER_ENABLED: text })))
      )
  )

  it.effect("a switch that is not understood is refused", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(built({
        environment: { CIRCUIT_BREAKER_ENABLED: "flase", CIRCUIT_BREAKER_PERSISTENCE: "mongo" }
      }))
      assert.strictEqual(
        error.message,
        "CIRCUIT_BREAKER_ENABLED: must be one of true, yes, on, y, 1, false, no, off, n, 0, got \"flase\"\n" +
          "CIRCUIT_BREAKER_PERSISTENCE: must be one of memory, file, sqlite, redis, database, postgres, mysql, got \"mongo\""
      )
    }))

  it.effect("enabled: false in the file bypasses the breakers that are made of it, and says so", () =>
    Effect.gen(function*() {
      const run = (environment: Readonly<Record<string, string>>) =>
        Effect.gen(function*() {
          const search = yield* Search
          yield* failTimes(Search, 9)
          return (yield* search.snapshot).statistics.failure > 0
        }).pipe(
          Effect.provide(BreakerConfig.layerFor(Search)),
          Effect.provide(configuration({ file: yaml("circuit_breaker:\n enabled: off"), environment })),
          Effect.provide(Storage.MemoryStorageLive),
          Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord({ ...environment })))
        )
      const lines = yield* linesOf(
        Effect.map(run({}), (counted) => assert.isFalse(counted)),
        messages.notEnforced
      )
      assert.deepStrictEqual(lines, [["Warn", { mode: "bypass", source: "breakers.yaml:2" }]])
      assert.isTrue(yield* run({ CIRCUIT_BREAKER_ENABLED: "true" }))
    }))

  it.effect("layerEnforcement switches off breakers that are made in another way", () =>
    Effect.gen(function*() {
      const modeOf = (text: string) =>
        Effect.provide(
          Breaker.Enforcement,
          Layer.provide(BreakerConfig.layerEnforcement, configuration({ file: yaml(text) }))
        )
      assert.strictEqual(yield* modeOf("circuit_breaker: { enabled: no }"), "bypass")
      assert.strictEqual(yield* modeOf("circuit_breaker: { enabled: yes }"), "enforce")
      assert.strictEqual(yield* modeOf(""), "enforce")
    }))

  it.effect("unknown: \"warn\" logs unknown keys and refuses everything else", () =>
    Effect.gen(function*() {
      const file = yaml("circuit_breaker:\n retries: 3\n services:\n  payments: { timout: 2, open_for: 7 }")
      const lines = yield* linesOf(built({ file, unknown: "warn" }), messages.configUnknown)
      assert.deepStrictEqual(lines, [
        ["Warn", {
          problem:
            "breakers.yaml:2: circuit_breaker.retries must be left out, because the only keys here are enabled, " +
            "persistence, defaults, services, got 3"
        }],
        ["Warn", {
          problem:
            "breakers.yaml:4: circuit_breaker.services.payments.timout must be left out, because there is no such key " +
            "(did you mean timeout?), got 2"
        }]
      ])
      const wrong = yield* Effect.flip(built({ file: services("payments: { open_for: x }"), unknown: "warn" }))
      assert.strictEqual(wrong.problems.length, 1)
    }))

  it.effect("a service of the file without a breaker is logged once the program has started", () =>
    Effect.map(
      linesOf(
        TestClock.adjust("10 seconds").pipe(
          Effect.provide(layerFor(classOf("payments"))),
          Effect.provide(
            configuration({ file: yaml("circuit_breaker:\n services:\n  payments: {}\n  paymnets: {}\n  mail: {}") })
          ),
          Effect.provide(Storage.MemoryStorageLive)
        ),
        messages.configUnused
      ),
      (lines) =>
        assert.deepStrictEqual(lines, [
          ["Warn", {
            problem:
              "breakers.yaml:4: circuit_breaker.services.paymnets must be the name of a breaker that layerFor makes (did " +
              "you mean payments?)"
          }],
          ["Warn", {
            problem: "breakers.yaml:5: circuit_breaker.services.mail must be the name of a breaker that layerFor makes"
          }]
        ])
    ))

  it.effect("a ConfigProvider that cannot be read is a problem of each variable, and no crash", () =>
    Effect.gen(function*() {
      const provider = ConfigProvider.make(() => Effect.fail(new ConfigProvider.SourceError({ message: "hunter2" })))
      const error = yield* Effect.flip(
        Effect.provide(
          BreakerConfig.BreakerConfig,
          Layer.provide(BreakerConfig.layerEnv, ConfigProvider.layer(provider))
        )
      )
      assert.strictEqual(
        error.message,
        "CIRCUIT_BREAKER_ENABLED: must be a text that the ConfigProvider can read\n" +
          "CIRCUIT_BREAKER_PERSISTENCE: must be a text that the ConfigProvider can read"
      )
    }))
})

describe("layerStorage", () => {
  const backendOf = (sources: Sources) =>
    Effect.map(Storage.Storage, ({ backend }) => backend).pipe(
      Effect.provide(BreakerConfig.layerStorage),
      Effect.provide(configuration(sources)),
      Effect.map((backend) => backend as string),
      Effect.catchTags({ ConfigError: ({ message }) => Effect.succeed(message) })
    )

  it.effect("persistence names the storage; the environment comes first", () =>
    Effect.gen(function*() {
      const file = yaml("circuit_breaker: { persistence: redis }\nredis: { url: 'redis://localhost:1', pool_size: 2 }")
      assert.strictEqual(yield* backendOf({}), "memory")
      assert.strictEqual(yield* backendOf({ file }), "redis")
      assert.strictEqual(yield* backendOf({ file, environment: { CIRCUIT_BREAKER_PERSISTENCE: "memory" } }), "memory")
    }))

  it.effect("an address in the environment comes before redis.url, and without either it is said what is missing", () =>
    Effect.gen(function*() {
      const file = yaml("circuit_breaker: { persistence: redis }\nredis: { url: 'redis://localhost:1' }")
      assert.include(yield* backendOf({ file, environment: { REDIS_URL: "http://no" } }), "REDIS_URL")
      assert.include(
        yield* backendOf({ file, environment: { REDIS_HOST: "localhost", REDIS_PORT: "no" } }),
        "REDIS_PORT"
      )
      assert.include(yield* backendOf({ file: yaml("circuit_breaker: { persistence: redis }") }), "REDIS_HOST")
    }))

  it.effect("a redis.url that nobody uses is logged, without the URL", () =>
    Effect.gen(function*() {
      const lines = yield* linesOf(
        backendOf({ file: yaml("redis:\n url: redis://u:hunter2@localhost") }),
        messages.redisUnused
      )
      assert.deepStrictEqual(lines, [["Warn", { source: "breakers.yaml:2", persistence: "memory" }]])
    }))
})

describe("Breaker.config", () => {
  it.effect("Breaker.config reads consistency in both of its forms, and refuses both at once", () =>
    Effect.gen(function*() {
      const read = (record: Readonly<Record<string, string>>) =>
        Effect.provide(Breaker.config("P"), ConfigProvider.layer(ConfigProvider.fromEnvRecord({ ...record })))
      assert.deepStrictEqual(yield* read({ P_CONSISTENCY: "strict" }), { consistency: "strict" })
      assert.deepStrictEqual(yield* read({ P_CONSISTENCY_MAX_AGE: "5 seconds" }), {
        consistency: { maxAge: Duration.seconds(5) }
      })
      const both = yield* Effect.flip(read({ P_CONSISTENCY: "strict", P_CONSISTENCY_MAX_AGE: "5 seconds" }))
      assert.instanceOf(both, Config.ConfigError)
      assert.include(both.message, "CONSISTENCY must be left out, because CONSISTENCY_MAX_AGE is given, too")
    }))
})

describe("keyed classes", () => {
  it.effect("the file's defaults reach a keyed breaker", () =>
    Effect.map(
      policyOf(keyedClassOf("many"), { file: yaml("circuit_breaker: { defaults: { idle_time_to_live: 30 } }") }),
      ({ idleTimeToLive }) => assert.deepStrictEqual(idleTimeToLive, Duration.seconds(30))
    ))
})
