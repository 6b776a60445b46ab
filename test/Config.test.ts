import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Logger, References, Schema } from "effect"
import * as Redis from "effect/persistence/Redis"
import * as SqlClient from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { messages } from "../src/internal/Messages.ts"
import * as FileStorageLive from "../src/layers/FileStorageLive.ts"
import * as MysqlStorageLive from "../src/layers/MysqlStorageLive.ts"
import * as PostgresStorageLive from "../src/layers/PostgresStorageLive.ts"
import * as RedisStorageLive from "../src/layers/RedisStorageLive.ts"
import * as SqliteStorageLive from "../src/layers/SqliteStorageLive.ts"
import * as RedisStorage from "../src/Storage/Redis.ts"
import * as SqlStorage from "../src/Storage/Sql.ts"
import { failTimes, rejectionOf } from "./utils.ts"

const memory = Storage.MemoryStorageLive
const environment = (record: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnvRecord(record))
type Built = Layer.Layer<any, Config.ConfigError, Storage.Storage>
const read = (record: Record<string, string>) => Effect.provide(Breaker.config("PAYMENTS"), environment(record))

describe("Breaker.config", () => {
  it.effect("Breaker.config reads every field from the environment", () =>
    Effect.gen(function*() {
      const policy = yield* read({
        PAYMENTS_TRIP: JSON.stringify({
          _tag: "FailureRate",
          threshold: 0.5,
          minimumCalls: 20,
          window: { _tag: "Within", duration: "30 seconds" }
        }),
        PAYMENTS_OPEN_FOR: "10 seconds",
        PAYMENTS_MAX_OPEN_FOR: "1 minute",
        PAYMENTS_TIMEOUT: "2 seconds",
        PAYMENTS_MAX_CONCURRENT: "5",
        PAYMENTS_ENFORCEMENT: "metricsOnly",
        PAYMENTS_APPROACH_AT: "0.5",
        PAYMENTS_REPORTS: "quiet",
        PAYMENTS_HALF_OPEN_PROBES: "2",
        PAYMENTS_HALF_OPEN_SUCCESSES: "3",
        PAYMENTS_HALF_OPEN_LEASE: "4 seconds",
        PAYMENTS_HALF_OPEN_TIMEOUT: "1 second",
        PAYMENTS_HALF_OPEN_RAMP: "20 seconds",
        PAYMENTS_UNKNOWN: "?"
      })
      assert.strictEqual(policy.approachAt, 0.5)
      assert.strictEqual(policy.reports, "quiet")
      assert.strictEqual((yield* read({ PAYMENTS_APPROACH_AT: "false" })).approachAt, false)
      assert.strictEqual(
        Breaker.fingerprint(policy),
        Breaker.fingerprint({
          trip: Trip.failureRate({ threshold: 0.5, minimumCalls: 20, within: "30 seconds" }),
          openFor: "10 seconds",
          maxOpenFor: "1 minute",
          timeout: "2 seconds",
          maxConcurrent: 5,
          enforcement: "metricsOnly",
          halfOpen: { probes: 2, successes: 3, lease: "4 seconds", timeout: "1 second", ramp: "20 seconds" }
        })
      )
    }))

  it.effect("Breaker.config returns the defaults if no variable is set, or if it is empty", () =>
    Effect.map(
      read({ PAYMENTS_TIMEOUT: "" }),
      (policy) => assert.strictEqual(Breaker.fingerprint(policy), Breaker.fingerprint({}))
    ))

  it.effect("Breaker.config has no key for a variable that is not set, so it can be spread over a policy (F28)", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(Object.keys(yield* read({})), [])
      assert.deepStrictEqual(yield* read({ PAYMENTS_HALF_OPEN_PROBES: "2" }), { halfOpen: { probes: 2 } })
      const policy = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds", halfOpen: { probes: 3 } } as const
      assert.strictEqual(
        Breaker.fingerprint({ ...policy, ...(yield* read({ PAYMENTS_TIMEOUT: "" })) }),
        Breaker.fingerprint(policy)
      )
    }))

  /** What reading a policy logs. */
  const logOf = (provider: ConfigProvider.ConfigProvider, config = Breaker.config("PAYMENTS")) =>
    Effect.suspend(() => {
      const lines: Array<readonly [level: string, message: string, variables: unknown]> = []
      const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
        lines.push([logLevel, String(message), fiber.getRef(References.CurrentLogAnnotations)["variables"]])
      })
      return Effect.as(
        Effect.provide(config, [Logger.layer([logger]), ConfigProvider.layer(provider)]),
        lines
      ).pipe(Effect.provideService(References.MinimumLogLevel, "Debug"))
    })
  const misspelt = (name: string, meant: string): readonly [string, string, string] => [
    "Warn",
    messages.variablesMisspelt.text,
    `${name} (did you mean ${meant}?)`
  ]

  const guesses = [
    ["PAYMENTS_TIMOUT", "PAYMENTS_TIMEOUT"],
    ["PAYMENTS_TIMEOUT_MS", "PAYMENTS_TIMEOUT"],
    ["PAYMENTS_OPENFOR", "PAYMENTS_OPEN_FOR"],
    ["PAYMENTS_OPEN_FOR_SECONDS", "PAYMENTS_OPEN_FOR"],
    ["PAYMENTS_MAX_CONCURENT", "PAYMENTS_MAX_CONCURRENT"],
    ["PAYMENTS_PROBES", "PAYMENTS_HALF_OPEN_PROBES"],
    ["PAYMENTS_HALF_OPEN_PROBE", "PAYMENTS_HALF_OPEN_PROBES"],
    ["PAYMENTS_TRIPS", "PAYMENTS_TRIP"]
  ] as const
  for (const [name, meant] of guesses) {
    it.effect(`Breaker.config warns of ${name}, which it does not read, and names ${meant} (F30)`, () =>
      Effect.gen(function*() {
        const lines = yield* logOf(ConfigProvider.fromEnvRecord({ [name]: "1 second", PAYMENTS_OPEN_FOR: "5 seconds" }))
        assert.deepStrictEqual(lines, [misspelt(name, meant)])
      }))
  }

  it.effect("Breaker.config warns of any variable under HALF_OPEN that it does not read (F30)", () =>
    Effect.gen(function*() {
      const lines = yield* logOf(ConfigProvider.fromEnvRecord({ PAYMENTS_HALF_OPEN_MAX: "3" }))
      assert.deepStrictEqual(lines, [["Warn", messages.variablesMisspelt.text, "PAYMENTS_HALF_OPEN_MAX"]])
    }))

  it.effect("Breaker.config logs variables that look like none of its own at Debug (F30)", () =>
    Effect.gen(function*() {
      // What else configures the dependency, what Kubernetes adds for a service of this name, and another breaker's.
      const lines = yield* logOf(ConfigProvider.fromEnvRecord({
        PAYMENTS_URL: "https://payments.test",
        PAYMENTS_API_KEY: "secret",
        PAYMENTS_SERVICE_HOST: "10.0.0.1",
        PAYMENTS_PORT: "tcp://10.0.0.1:80",
        PAYMENTS_EU_TIMEOUT: "1 second",
        PAYMENTSX_TIMOUT: "1 second"
      }))
      assert.strictEqual(lines.length, 1)
      const [level, text, variables] = lines[0]!
      assert.deepStrictEqual([level, text], ["Debug", messages.variablesUnread.text])
      assert.sameMembers(String(variables).split(", "), [
        "PAYMENTS_URL",
        "PAYMENTS_API_KEY",
        "PAYMENTS_SERVICE_HOST",
        "PAYMENTS_PORT",
        "PAYMENTS_EU_TIMEOUT"
      ])
    }))

  it.effect("Breaker.config finds unread variables under a prefix of several words, and in a file (F30)", () =>
    Effect.gen(function*() {
      const environment = ConfigProvider.fromEnvRecord({
        MY_PAYMENTS_TIMOUT: "1 second",
        MY_PAYMENTS_TIMEOUT: "1 second"
      })
      assert.deepStrictEqual(
        yield* logOf(environment, Breaker.config("MY_PAYMENTS")),
        [misspelt("MY_PAYMENTS_TIMOUT", "MY_PAYMENTS_TIMEOUT")]
      )
      const file = ConfigProvider.fromUnknown({ PAYMENTS: { TIMOUT: "1 second", OPEN_FOR: "1 second" } })
      assert.deepStrictEqual(yield* logOf(file), [misspelt("PAYMENTS_TIMOUT", "PAYMENTS_TIMEOUT")])
    }))

  const bad: ReadonlyArray<readonly [Record<string, string>, RegExp]> = [
    [
      { PAYMENTS_TRIP: JSON.stringify({ _tag: "ConsecutiveFailures", failures: 3, withn: 1 }) },
      /trip\.withn must be left out/
    ],
    [{ PAYMENTS_OPEN_FOR: "0 seconds" }, /openFor must be a finite duration from 1 ms to \d+ ms, got/],
    [{ PAYMENTS_OPEN_FOR: "-5 seconds" }, /openFor must be a finite duration/],
    [{ PAYMENTS_OPEN_FOR: "Infinity" }, /openFor must be a finite duration/],
    [{ PAYMENTS_MAX_CONCURRENT: "0" }, /maxConcurrent must be a whole number from 1 to 1000000, got 0/],
    [{ PAYMENTS_MAX_CONCURRENT: "2.5" }, /maxConcurrent must be a whole number .* got 2.5/],
    [{ PAYMENTS_HALF_OPEN_PROBES: "-1" }, /halfOpen\.probes must be a whole number .* got -1/],
    [{ PAYMENTS_OPEN_FOR: "2 hours", PAYMENTS_MAX_OPEN_FOR: "1 hour" }, /maxOpenFor must be .* got/],
    [
      { PAYMENTS_TRIP: JSON.stringify({ _tag: "ConsecutiveFailures", failures: 0 }) },
      /trip\.failures must be a whole number at least 1, got 0/
    ],
    [{ PAYMENTS_TRIP: JSON.stringify({ _tag: "Sometimes" }) }, /TRIP/],
    [{ PAYMENTS_TRIP: "{" }, /TRIP/],
    [{ PAYMENTS_OPEN_FOR: "soon" }, /OPEN_FOR/],
    [{ PAYMENTS_MAX_CONCURRENT: "NaN" }, /MAX_CONCURRENT/],
    [{ PAYMENTS_ENFORCEMENT: "off" }, /ENFORCEMENT/]
  ]
  for (const [record, message] of bad) {
    it.effect(`Breaker.config refuses ${JSON.stringify(record).slice(0, 70)} with a ConfigError that names the field`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(read(record))
        assert.strictEqual(error._tag, "ConfigError")
        assert.match(String(error.message), message)
        const layer = Breaker.layerConfig("bad-config", Breaker.config("PAYMENTS")).pipe(Layer.provide(memory))
        const exit = yield* Effect.exit(Layer.build(Layer.provide(Layer.fresh(layer), environment(record))))
        assert.isTrue(Exit.hasFails(exit))
        assert.include(String(exit), "ConfigError")
      }))
  }
})

describe("layerConfig", () => {
  it.effect("Breaker.layerConfig reads the default breaker's policy from config", () =>
    Effect.gen(function*() {
      const breaker = yield* Breaker.Breaker
      yield* failTimes(breaker, 1)
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(10))
    }).pipe(
      Effect.provide(Breaker.layerConfig("from-config", Breaker.config("PAYMENTS"))),
      Effect.provide([
        memory,
        environment({ PAYMENTS_OPEN_FOR: "10 seconds", PAYMENTS_TRIP: `{"_tag":"ConsecutiveFailures","failures":1}` })
      ])
    ))

  class Api extends Breaker.Service<Api>()("api-config", {
    trip: Trip.consecutiveFailures(1),
    openFor: "10 seconds",
    maxOpenFor: "30 seconds",
    timeout: "2 seconds"
  }) {}
  const layer = Api.layerConfig({ openFor: Config.Duration("OPEN_FOR"), timeout: Config.Duration("TIMEOUT") })

  it.effect("a service's layerConfig reads the declared fields from config, and the others from its policy", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Effect.exit(Api.wrap(Effect.never)), { startImmediately: true })
      yield* TestClock.adjust("3 seconds")
      assert.isDefined(fiber.pollUnsafe())
      assert.deepStrictEqual((yield* rejectionOf(yield* Api)).retryAfter, Duration.seconds(20))
    }).pipe(
      Effect.provide(layer),
      Effect.provide([memory, environment({ OPEN_FOR: "20 seconds", TIMEOUT: "3 seconds" })])
    ))

  class Probing extends Breaker.Service<Probing>()("probing-config", {
    trip: Trip.consecutiveFailures(1),
    halfOpen: { probes: 1, lease: "5 seconds" }
  }) {}

  it.effect("a service's layerConfig keeps the half-open fields that config does not set", () =>
    Effect.gen(function*() {
      const probing = yield* Probing
      yield* Effect.orDie(probing.forceHalfOpen)
      for (let i = 0; i < 2; i++) {
        yield* Effect.forkChild(Effect.exit(Probing.wrap(Effect.never)), { startImmediately: true })
      }
      assert.deepStrictEqual((yield* rejectionOf(probing)).retryAfter, Duration.seconds(5))
    }).pipe(
      Effect.provide(Probing.layerConfig({ halfOpen: { probes: Config.Finite("PROBES") } })),
      Effect.provide([memory, environment({ PROBES: "2" })])
    ))

  const bad: ReadonlyArray<readonly [Record<string, string>, RegExp]> = [
    [{ OPEN_FOR: "0 seconds", TIMEOUT: "3 seconds" }, /openFor must be a finite duration/],
    [{ OPEN_FOR: "1 minute", TIMEOUT: "3 seconds" }, /maxOpenFor must be a finite duration from 60000 ms/],
    [{ OPEN_FOR: "1 second" }, /TIMEOUT/]
  ]
  for (const [record, message] of bad) {
    it.effect(`a service's layerConfig refuses ${JSON.stringify(record)} with a ConfigError`, () =>
      Effect.gen(function*() {
        const built = Layer.build(Layer.provide(Layer.fresh(layer), [memory, environment(record)]))
        const error = yield* Effect.flip(built)
        assert.strictEqual(error._tag, "ConfigError")
        assert.match(error.message, message)
      }))
  }
})

describe("layerConfig of a keyed service", () => {
  class Hosts extends Breaker.KeyedService<Hosts>()("hosts-config", {
    trip: Trip.consecutiveFailures(1),
    openFor: "10 seconds",
    capacity: 10,
    overflow: "evictIdle"
  }) {}

  it.effect("reads the declared fields of the policy and of the keyed options, and keeps the others", () =>
    Effect.gen(function*() {
      for (const key of ["a", "b", "c"]) yield* Effect.exit(Hosts.wrap(Effect.fail("no"), { key }))
      const entries = yield* Hosts.entries
      assert.deepStrictEqual(
        entries.map(({ key, snapshot }) => [key, snapshot.state, snapshot.retryAfter]),
        [["a", "Open", Duration.seconds(20)], ["b", "Open", Duration.seconds(20)]]
      )
      // The third key found no room, and shares a circuit.
      const error = yield* Effect.flip(Hosts.wrap(Effect.void, { key: "d" }))
      assert.deepInclude(error, { circuit: "hosts-config~overflow", overflow: true })
    }).pipe(
      Effect.provide(Hosts.layerConfig({
        openFor: Config.Duration("OPEN_FOR"),
        capacity: Config.Finite("CAPACITY"),
        overflow: Config.Literals(["shareOne", "evictIdle"], "OVERFLOW")
      })),
      Effect.provide([memory, environment({ OPEN_FOR: "20 seconds", CAPACITY: "2", OVERFLOW: "shareOne" })])
    ))

  it.effect("reads a whole config, such as Breaker.config", () =>
    Effect.gen(function*() {
      yield* Effect.exit(Hosts.wrap(Effect.fail("no"), { key: "a" }))
      assert.deepStrictEqual((yield* Hosts.entries)[0]?.snapshot.retryAfter, Duration.seconds(30))
    }).pipe(
      Effect.provide(Hosts.layerConfig(Breaker.config("PAYMENTS"))),
      Effect.provide([memory, environment({ PAYMENTS_OPEN_FOR: "30 seconds" })])
    ))

  const bad: ReadonlyArray<readonly [Built, RegExp]> = [
    [Hosts.layerConfig({ openFor: Config.succeed("0 seconds") }), /"hosts-config".*openFor must be a finite duration/],
    [Hosts.layerConfig({ capacity: Config.succeed(0) }), /"hosts-config".*capacity must be a whole number/],
    [Hosts.layerConfig({ overflow: Config.succeed("explode" as never) }), /overflow must be one of evictIdle/],
    [Hosts.layerConfig(Breaker.config("TIMED")), /timeout must be declared .* BreakerTimeoutError/]
  ]
  for (const [layer, message] of bad) {
    it.effect(`refuses with a ConfigError: ${message.source}`, () =>
      Effect.gen(function*() {
        const given = environment({ TIMED_TIMEOUT: "1 second" })
        const error = yield* Effect.flip(Layer.build(Layer.provide(Layer.fresh(layer), [memory, given])))
        assert.strictEqual(error._tag, "ConfigError")
        assert.match(error.message, message)
      }))
  }
})

describe("layerConfig and the error type", () => {
  class Plain extends Breaker.Service<Plain>()("plain-config", { openFor: "10 seconds" }) {}
  class Probed extends Breaker.Service<Probed>()("probed-config", { halfOpen: { probes: 2 } }) {}
  class Local extends Breaker.Service<Local>()("local-config", { consistency: "local", onStorageError: "fail" }) {}
  class Allowing extends Breaker.Service<Allowing>()("allowing-config", {
    consistency: "strict",
    onStorageError: "allow"
  }) {}
  const data = (policy: Breaker.Data): Config.Config<Breaker.Data> => Config.succeed(policy)
  const fromEnv = Breaker.config("PAYMENTS")
  const bad: ReadonlyArray<readonly [name: string, layer: Built, field: string, error: string]> = [
    ["timeout", Plain.layerConfig(fromEnv), "timeout", "BreakerTimeoutError"],
    ["maxConcurrent", Plain.layerConfig(data({ maxConcurrent: 3 })), "maxConcurrent", "BulkheadFullError"],
    [
      "halfOpen.timeout",
      Probed.layerConfig(data({ halfOpen: { timeout: "1 second" } })),
      "halfOpen.timeout",
      "BreakerTimeoutError"
    ],
    [
      "consistency",
      Local.layerConfig(data({ consistency: "strict" })),
      "consistency with onStorageError",
      "StorageError"
    ],
    [
      "onStorageError",
      Allowing.layerConfig(data({ onStorageError: "fail" })),
      "consistency with onStorageError",
      "StorageError"
    ],
    [
      "consistency and onStorageError",
      Breaker.layerConfig("default-config", data({ consistency: "strict", onStorageError: "fail" })),
      "consistency with onStorageError",
      "StorageError"
    ]
  ]
  for (const [name, layer, field, added] of bad) {
    it.effect(`layerConfig refuses ${name} where the policy does not declare it (F27)`, () =>
      Effect.gen(function*() {
        const environments = environment({ PAYMENTS_TIMEOUT: "50 millis" })
        const error = yield* Effect.flip(Layer.build(Layer.provide(Layer.fresh(layer), [memory, environments])))
        assert.strictEqual(error._tag, "ConfigError")
        assert.include(error.message, `${field} must be declared`)
        assert.include(error.message, added)
      }))
  }

  class Declared extends Breaker.Service<Declared>()("declared-config", {
    timeout: Breaker.unset<Duration.Input>(),
    maxConcurrent: Breaker.unset<number>(),
    consistency: Breaker.unset<Breaker.Consistency>(),
    onStorageError: Breaker.unset<"allow" | "fail">()
  }) {}

  it.effect("layerConfig sets fields that the policy declares with Breaker.unset (F27)", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Effect.flip(Declared.wrap(Effect.never)), { startImmediately: true })
      yield* TestClock.adjust("50 millis")
      assert.instanceOf(yield* Fiber.join(fiber), Breaker.BreakerTimeoutError)
    }).pipe(
      Effect.provide(Declared.layerConfig(fromEnv)),
      Effect.provide([memory, environment({ PAYMENTS_TIMEOUT: "50 millis", PAYMENTS_MAX_CONCURRENT: "3" })])
    ))

  it.effect("a policy with Breaker.unset has the defaults until config sets it (F27)", () =>
    Effect.gen(function*() {
      assert.strictEqual(Breaker.fingerprint(Declared.policy), Breaker.fingerprint({}))
      const fiber = yield* Effect.forkChild(Declared.wrap(Effect.never), { startImmediately: true })
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(fiber.pollUnsafe())
    }).pipe(Effect.provide(Declared.layerConfig(fromEnv)), Effect.provide([memory, environment({})])))

  it.effect("layerConfig sets any field that adds no error (F27)", () =>
    Effect.gen(function*() {
      const plain = yield* Plain
      yield* failTimes(plain, 1)
      assert.deepStrictEqual((yield* rejectionOf(plain)).retryAfter, Duration.seconds(20))
    }).pipe(
      Effect.provide(Plain.layerConfig(fromEnv)),
      Effect.provide([
        memory,
        environment({
          PAYMENTS_OPEN_FOR: "20 seconds",
          PAYMENTS_TRIP: JSON.stringify({ _tag: "ConsecutiveFailures", failures: 1 })
        })
      ])
    ))
})

describe("a threshold from config that makes no sense", () => {
  class Tripping extends Breaker.Service<Tripping>()("tripping-config", { trip: Trip.consecutiveFailures(5) }) {}
  const zero = environment({ FAILURES: "0" })

  const computed: ReadonlyArray<readonly [string, Config.Config<Trip.Trip>]> = [
    ["Config.map", Config.map(Config.Int("FAILURES"), Trip.consecutiveFailures)],
    ["Trip.fromConfig", Trip.fromConfig(Config.Int("FAILURES"), Trip.consecutiveFailures)]
  ]
  for (const [how, trip] of computed) {
    it.effect(`a threshold that makes no sense, by ${how}, is a ConfigError of layerConfig (F33)`, () =>
      Effect.gen(function*() {
        const layers: ReadonlyArray<Built> = [Tripping.layerConfig({ trip }), Breaker.layerConfig("tripping", { trip })]
        for (const layer of layers) {
          const built = Layer.build(
            Layer.provide(Layer.fresh(layer), [
              memory,
              zero
            ])
          )
          const error = yield* Effect.flip(built)
          assert.strictEqual(error._tag, "ConfigError")
          assert.include(error.message, "failures must be a whole number at least 1, got 0")
        }
      }))
  }

  it.effect("Trip.fromConfig fails with a ConfigError for any value that its constructor refuses (F33)", () =>
    Effect.gen(function*() {
      const rate = Trip.fromConfig(
        Config.all({ threshold: Config.Finite("THRESHOLD"), within: Config.Duration("WITHIN") }),
        Trip.failureRate
      )
      const provided = (record: Record<string, string>) => Effect.provide(rate, environment(record))
      assert.deepStrictEqual(
        yield* provided({ THRESHOLD: "0.5", WITHIN: "1 second" }),
        Trip.failureRate({ threshold: 0.5, within: Duration.seconds(1) })
      )
      const error = yield* Effect.flip(provided({ THRESHOLD: "5", WITHIN: "1 second" }))
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, "threshold must be a rate in [0, 1], got 5")
    }))

  it.effect("what a config throws besides stays a defect (F33)", () =>
    Effect.gen(function*() {
      const broken = Config.map(Config.Int("FAILURES"), (): Trip.Trip => {
        throw new TypeError("a mistake")
      })
      const layer = Layer.provide(Layer.fresh(Tripping.layerConfig({ trip: broken })), [memory, zero])
      assert.isTrue(Exit.hasDies(yield* Effect.exit(Layer.build(layer))))
    }))
})

describe("options of a storage from config", () => {
  const zero = Config.succeed<Duration.Input>(0)
  const noClient = Layer.mergeAll(
    Layer.succeed(Redis.Redis, {} as Redis.Redis["Service"]),
    Layer.succeed(SqlClient.SqlClient, {} as SqlClient.SqlClient)
  )
  const storages: Record<string, Layer.Layer<Storage.Storage, Config.ConfigError>> = {
    RedisStorageLive: RedisStorageLive.layerConfig({ idleTimeToLive: zero }),
    PostgresStorageLive: PostgresStorageLive.layerConfig({ idleTimeToLive: zero }),
    MysqlStorageLive: MysqlStorageLive.layerConfig({ database: Config.succeed("circuits"), idleTimeToLive: zero }),
    SqliteStorageLive: SqliteStorageLive.layerConfig({ file: Config.succeed(":memory:"), idleTimeToLive: zero }),
    FileStorageLive: FileStorageLive.layerConfig({ idleTimeToLive: zero }),
    "Storage/Redis": Layer.provide(RedisStorage.layerConfig({ idleTimeToLive: zero }), noClient),
    "Storage/Sql": Layer.provide(SqlStorage.layerConfig({ idleTimeToLive: zero }), noClient)
  }
  for (const [name, layer] of Object.entries(storages)) {
    it.effect(`options of ${name} that make no sense are a ConfigError of layerConfig (F33)`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(layer))
        assert.strictEqual(error._tag, "ConfigError")
        assert.include(error.message, "idleTimeToLive must be a finite duration from 1000 ms to 31536000000 ms, got 0")
      }))
  }
})

describe("an invalid policy", () => {
  const never = { failures: 2 } as const
  const bad: ReadonlyArray<readonly [() => Breaker.Policy, RegExp]> = [
    [() => ({ openFor: 0 }), /openFor must be .* got 0/],
    [() => ({ openFor: -1 }), /openFor must be .* got -1/],
    [() => ({ openFor: Infinity }), /openFor/],
    [() => ({ openFor: NaN }), /openFor/],
    [() => ({ openFor: "a while" as never }), /openFor must be .* got "a while"/],
    [() => ({ timeout: 0 }), /timeout/],
    [() => ({ timeout: Duration.infinity }), /timeout/],
    [() => ({ maxOpenFor: "1 second", openFor: "2 seconds" }), /maxOpenFor must be a finite duration from 2000 ms/],
    [() => ({ maxConcurrent: 0 }), /maxConcurrent/],
    [() => ({ maxConcurrent: NaN }), /maxConcurrent must be .* got NaN/],
    [() => ({ halfOpen: { probes: 0 } }), /halfOpen\.probes/],
    [() => ({ halfOpen: { successes: 1.5 } }), /halfOpen\.successes/],
    [() => ({ halfOpen: { sample: { calls: 0, failureRate: 0.5 } } }), /halfOpen\.sample\.calls/],
    [() => ({ halfOpen: { sample: { calls: 5, failureRate: 0 } } }), /halfOpen\.sample\.failureRate/],
    [() => ({ halfOpen: { sample: { calls: 5, failureRate: 0.5 }, successes: 2 } }), /halfOpen\.successes/],
    [() => ({ halfOpen: { lease: 0 } }), /halfOpen\.lease/],
    [() => ({ halfOpen: { timeout: -1 } }), /halfOpen\.timeout/],
    [() => ({ halfOpen: { ramp: Infinity } }), /halfOpen\.ramp/],
    [() => ({ consistency: { maxAge: 0 } }), /consistency\.maxAge/],
    [() => ({ consistency: "eventual" as never }), /consistency must be one of local, strict, got "eventual"/],
    [() => ({ syncEvery: 0 }), /syncEvery/],
    [() => ({ evidence: "hearsay" as never }), /evidence/],
    [() => ({ onStorageError: "panic" as never }), /onStorageError/],
    [() => ({ trip: Trip.consecutiveFailures(0) }), /failures must be .* got 0/],
    [
      () => ({ trip: Trip.failureRate({ threshold: 1.1, within: "1 second" }) }),
      /threshold must be a rate in \[0, 1\]/
    ],
    [() => ({ trip: Trip.failureRate({ threshold: NaN, within: "1 second" }) }), /threshold must be .* got NaN/],
    [() => ({ trip: Trip.failureRate({ threshold: 0.5, within: 0 }) }), /within/],
    [() => ({ trip: Trip.failureRate({ threshold: 0.5, lastCalls: 10, minimumCalls: 11 }) }), /minimumCalls .* got 11/],
    [() => ({ trip: Trip.slowCallRate({ threshold: 1, slowerThan: -1, lastCalls: 10 }) }), /slowerThan/],
    [() => ({ trip: { _tag: "Never", ...never } as never }), /trip\._tag must be one of/]
  ]
  for (const [policy, message] of bad) {
    it(`an invalid policy is refused at once: ${message.source.slice(0, 60)}`, () => {
      assert.throws(() => Breaker.make("nonsense", policy()), RangeError)
      assert.throws(() => Breaker.make("nonsense", policy()), message)
      assert.throws(() => Breaker.layer("nonsense", policy() as {}), message)
      assert.throws(() => Breaker.Service()("nonsense", policy()), message)
      assert.throws(() => Breaker.makeKeyed("nonsense", policy()), message)
      assert.throws(() => Breaker.KeyedService()("nonsense", policy()), message)
    })
  }

  it("the error of an invalid policy names every problem", () => {
    assert.throws(() => Breaker.make("both", { openFor: 0, maxConcurrent: 0 }), /"both": openFor .*; maxConcurrent /)
  })

  it("an invalid policy in decoded data is a SchemaError", () => {
    const decode = Schema.decodeUnknownExit(Breaker.Data)
    assert.match(String(decode({ maxConcurrent: 0 })), /maxConcurrent must be a whole number from 1 to 1000000, got 0/)
    assert.isTrue(Exit.isFailure(decode({ openFor: "soon" })))
    assert.isTrue(Exit.isSuccess(decode({})))
  })

  it("a policy may have fields that are undefined", () => {
    const policy = { trip: undefined, openFor: undefined, timeout: undefined, halfOpen: undefined, classify: undefined }
    assert.strictEqual(Breaker.fingerprint(policy), Breaker.fingerprint({ classify: () => Outcome.success }))
  })
})
