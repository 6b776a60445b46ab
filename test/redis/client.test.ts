/** The Redis client: servers without an answer, subscriptions, reserved connections, secrets and addresses. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigProvider,
  type Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  Redacted,
  type Scope,
  Stream
} from "effect"
import * as Redis from "effect/persistence/Redis"
import { readFile, rm } from "node:fs/promises"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { inspect } from "node:util"
import { failures } from "../../src/conformance/Law.ts"
import { Breaker, Trip } from "../../src/index.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorageLive from "../../src/layers/RedisStorageLive.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import { type Announcement, Storage } from "../../src/Storage/Storage.ts"
import { eventually, onTimeMillis, retryWhenLate, scaledMillis } from "../support/machine.ts"
import { freePort, install, run, temporaryDirectory } from "../support/servers/processes.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { failTimes, rejectionOf } from "../utils.ts"
import { FakeRedis, healthy } from "./fake.ts"
import { capabilities } from "./laws.ts"
import { circuit, errorOf, layerOn, send } from "./support.ts"

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.stop())

const here = () => ({ host: "127.0.0.1", port: server.port })

const withEnvironment = (env: Readonly<Record<string, string>>) => ConfigProvider.layer(ConfigProvider.fromUnknown(env))

const isRead = Effect.map(Effect.exit(Effect.flatMap(circuit("any"), (it) => it.read)), Exit.isSuccess)

describe("a Redis that does not answer", () => {
  it.live("the Redis layer connects for the first command, and not when it is built", () =>
    Effect.gen(function*() {
      const sockets: Array<Socket> = []
      const silent = yield* Effect.acquireRelease(
        Effect.callback<Server>((resume) => {
          const silent = createServer((socket) => sockets.push(socket))
          silent.listen(0, "127.0.0.1", () => resume(Effect.succeed(silent)))
        }),
        (silent) =>
          Effect.sync(() => {
            for (const socket of sockets) socket.destroy()
            silent.close()
          })
      )
      const { port } = silent.address() as AddressInfo
      yield* Effect.gen(function*() {
        // The server accepts connections in order, so if the first is the probe's, the layer has opened none.
        const probe = connect(port, "127.0.0.1")
        yield* eventually("the server accepts a connection", Effect.sync(() => sockets.length > 0))
        assert.deepEqual(sockets.map(({ remotePort }) => remotePort), [probe.localPort])
        assert.strictEqual((yield* errorOf((yield* circuit("silent")).read)).reason, "Unavailable")
        assert.isAbove(sockets.length, 1)
      }).pipe(Effect.provide(layerOn({ host: "127.0.0.1", port })))
    }).pipe(Effect.scoped))

  it.live("without a Redis a breaker decides alone, and joins the fleet when Redis starts", () =>
    Effect.gen(function*() {
      yield* Effect.promise(() => server.kill())
      const program = Effect.gen(function*() {
        const breaker = yield* Breaker.make("lonely", { trip: Trip.consecutiveFailures(2), openFor: "1 minute" })
        yield* breaker.wrap(Effect.void)
        yield* failTimes(breaker, 2)
        assert.strictEqual((yield* rejectionOf(breaker)).openedBy, "instance")
        const error = yield* errorOf((yield* circuit("lonely")).read)
        assert.deepInclude(error, { reason: "Unavailable", operation: "sync", circuit: "lonely" })
        assert.include(inspect(error.cause), "ECONNREFUSED")
        yield* Effect.promise(() => server.restart())
        const it = yield* circuit("lonely")
        yield* eventually(
          "the failures seen meanwhile are reported",
          Effect.match(it.read, { onFailure: () => false, onSuccess: ({ lifetime }) => lifetime.failure === 2 })
        )
      })
      yield* program.pipe(
        Effect.scoped,
        Effect.provide(RedisStorageLive.RedisStorageLive),
        Effect.provide(withEnvironment({ REDIS_HOST: "127.0.0.1", REDIS_PORT: String(server.port) }))
      )
    }))

  it.live("a command fails at once without a connection, and after two silent seconds on a Redis that hangs", () =>
    Effect.gen(function*() {
      const it = yield* circuit("hung")
      yield* it.report(failures(1))
      server.pause()
      const timed = <E>(operation: Effect.Effect<unknown, E>) =>
        Effect.gen(function*() {
          const millis = onTimeMillis()
          const error = yield* errorOf(operation)
          assert.strictEqual(error.reason, "Unavailable")
          return millis()
        })
      assert.isBelow(yield* timed(it.read), 3500)
      for (let i = 0; i < 5; i++) assert.isBelow(yield* timed(it.operate({ _tag: "Reset" })), 3500)
      server.resume()
      yield* eventually("Redis is read again", isRead)
      yield* Effect.promise(() => server.kill())
      assert.isBelow(yield* timed(it.read), 500)
      yield* Effect.promise(() => server.restart())
      yield* eventually("Redis is read again", isRead)
    }).pipe(Effect.provide(layerOn(here()))))
})

describe("conformance: a Redis that hangs", () => {
  let storage: Storage
  const outage = Effect.acquireRelease(
    Effect.sync(() => server.pause()),
    () =>
      Effect.gen(function*() {
        server.resume()
        yield* eventually("the client has connected again", Effect.provideService(isRead, Storage, storage))
      })
  )
  const laws = Conformance.laws({
    capabilities,
    layer: ({ idleTimeToLive }) =>
      Layer.effect(
        Storage,
        Effect.tap(Storage, (built) =>
          Effect.sync(() => {
            storage = built
          }))
      ).pipe(Layer.provide(RedisStorageLive.layer({ ...here(), idleTimeToLive }))),
    unit: scaledMillis(100),
    advance: Effect.sleep,
    outage
  })
  const name = "a storage without its data fails, and never answers that a circuit is Closed"
  it.live(name, () =>
    Effect.flatMap(
      Effect.fromNullishOr(laws.find((law) => law.name === name)),
      ({ check }) => retryWhenLate(check)
    ))
})

describe("a subscription to Redis", () => {
  it.live("a subscription to Redis ends with its connection, and the next begins with Subscribed", () =>
    Effect.gen(function*() {
      const storage = yield* Storage
      const heard: Array<Announcement> = []
      const listening = yield* storage.changes.pipe(
        Stream.runForEach((announcement) => Effect.sync(() => heard.push(announcement))),
        Effect.flip,
        Effect.retry({ times: 0 }),
        Effect.tap((error) => Effect.sync(() => assert.strictEqual(error.reason, "Unavailable"))),
        Effect.forever,
        Effect.forkChild
      )
      const it = yield* circuit("announced")
      yield* eventually("the subscription begins", Effect.sync(() => heard.length === 1))
      for (const round of [1, 2, 3]) {
        const { snapshot: { generation } } = yield* it.operate({ _tag: "Reset" })
        yield* eventually("the change is announced", Effect.sync(() => heard.length === 2 * round))
        assert.deepEqual(heard.at(-1), { _tag: "Changed", circuit: "announced", generation })
        yield* send("CLIENT", "KILL", "TYPE", "pubsub")
        yield* eventually("another subscription begins", Effect.sync(() => heard.length === 2 * round + 1))
        assert.deepEqual(heard.at(-1), { _tag: "Subscribed" })
      }
      yield* Fiber.interrupt(listening)
      yield* eventually(
        "no subscription is left behind",
        Effect.map(Effect.orDie(send<string>("CLIENT", "LIST", "TYPE", "pubsub")), (list) => list === "")
      )
    }).pipe(Effect.provide(layerOn(here()))))

  const processOn = Effect.fnUntraced(function*(name: string, syncEvery: Duration.Input) {
    const storage = yield* Layer.build(Layer.fresh(RedisStorageLive.layer(here())))
    return yield* Breaker.make(name, {
      trip: Trip.consecutiveFailures(2),
      evidence: "any",
      openFor: "1 minute",
      syncEvery
    }).pipe(Effect.provide(storage))
  })
  const subscribers = Effect.map(
    Effect.orDie(send<string>("CLIENT", "LIST", "TYPE", "pubsub")),
    (list) => list.split("\n").filter((line) => line !== "").length
  )
  /** Two processes that have both used a circuit. */
  const processes = Effect.fnUntraced(function*(syncEvery: Duration.Input) {
    const name = `trip ${Math.random()}`
    const [a, b] = [yield* processOn(name, syncEvery), yield* processOn(name, syncEvery)]
    yield* b.wrap(Effect.void)
    yield* a.wrap(Effect.void)
    yield* eventually("both processes subscribe", Effect.map(subscribers, (count) => count === 2))
    return { a, b }
  })
  const knows = ({ state }: { readonly state: Effect.Effect<string> }) =>
    eventually("the other process knows of the trip", Effect.map(state, (state) => state === "Open"))

  it.live("a trip is announced over Redis, also to a process whose subscription was just cut", () =>
    Effect.gen(function*() {
      for (const isCut of [false, true, false]) {
        yield* Effect.scoped(Effect.gen(function*() {
          // The interval is an hour, so only the subscription can announce the trip in time.
          const { a, b } = yield* processes("1 hour")
          if (isCut) yield* send("CLIENT", "KILL", "TYPE", "pubsub")
          yield* failTimes(a, 2)
          yield* knows(b)
        }))
      }
    }).pipe(Effect.provide(layerOn(here()))))

  it.live("a process that Redis does not let subscribe reads of a trip an interval later", () =>
    Effect.gen(function*() {
      const { a, b } = yield* processes("200 millis")
      yield* Effect.acquireUseRelease(
        send("ACL", "SETUSER", "default", "-subscribe"),
        () =>
          Effect.gen(function*() {
            yield* send("CLIENT", "KILL", "TYPE", "pubsub")
            yield* failTimes(a, 2)
            // The process reads the circuit only while it makes calls.
            yield* eventually(
              "calls of the other process are rejected",
              Effect.as(Effect.flip(b.wrap(Effect.void)), true)
            )
            assert.strictEqual(yield* b.state, "Open")
            assert.strictEqual(yield* subscribers, 0)
          }),
        () => Effect.orDie(send("ACL", "SETUSER", "default", "+subscribe"))
      )
    }).pipe(Effect.scoped, Effect.provide(layerOn(here()))))
})

describe("a reserved connection to Redis", () => {
  it.live("a reserved connection to Redis may block for longer than others may be silent, and blocks no other", () =>
    Effect.gen(function*() {
      const redis = yield* Redis.Redis
      const waited = yield* Effect.scoped(Effect.gen(function*() {
        const connection = yield* redis.reserve
        const pop = yield* Effect.forkChild(connection.send("BLPOP", "nothing", "2.5"), { startImmediately: true })
        assert.strictEqual(yield* redis.send("PING"), "PONG")
        return yield* Fiber.join(pop)
      }))
      assert.isNull(waited)
    }).pipe(Effect.provide(IoRedis.layer(here()))))
})

/** Keeps what is written to the console, by the client, too, until the returned function is called. */
const captureConsole = (written: Array<unknown>): () => void => {
  const original = { warn: console.warn, error: console.error, log: console.log }
  const keep = (...parts: ReadonlyArray<unknown>) => void written.push(...parts)
  Object.assign(console, { warn: keep, error: keep, log: keep })
  return () => Object.assign(console, original)
}

describe("secrets of Redis", () => {
  const password = "correct horse battery staple"

  it.live("a password opens a Redis, and a wrong one is in no error", () =>
    Effect.gen(function*() {
      const guarded = yield* Effect.acquireRelease(
        Effect.promise(() => RedisServer.start("--requirepass", password)),
        (guarded) => Effect.promise(() => guarded.stop())
      )
      const address = { host: "127.0.0.1", port: guarded.port }
      yield* Effect.provide(
        Effect.flatMap(circuit("secret"), (it) => it.report(failures(1))),
        layerOn({ ...address, password: Redacted.make(password), database: 3 })
      )
      const wrong = "incorrect horse battery staple"
      for (
        const options of [{ password: Redacted.make(wrong) }, {}, {
          username: "nobody",
          password: Redacted.make(wrong)
        }]
      ) {
        const spoken: Array<unknown> = []
        const program = Effect.gen(function*() {
          const storage = yield* Storage
          const it = yield* circuit("secret")
          for (let i = 0; i < 3; i++) {
            const error = yield* errorOf(it.read)
            assert.deepInclude(error, { reason: "Denied", operation: "sync" })
            spoken.push(error, JSON.stringify(error), String(error), String(error.cause))
            yield* Effect.sleep(50)
          }
          spoken.push(yield* Effect.flip(Stream.runDrain(storage.changes)))
          const breaker = yield* Breaker.make("secret", { trip: Trip.consecutiveFailures(2) })
          yield* breaker.wrap(Effect.void)
          spoken.push(yield* Effect.exit(Effect.flatMap(Redis.Redis, (redis) => redis.send("AUTH", wrong))))
          spoken.push(yield* Effect.exit(Effect.flatMap(Redis.Redis, (redis) => Effect.scoped(redis.reserve))))
        })
        yield* program.pipe(Effect.scoped, Effect.provide(layerOn({ ...address, ...options })))
        const text = spoken.map((one) => inspect(one, { depth: 20, showHidden: true })).join("\n")
        assert.notInclude(text, wrong)
      }
    }).pipe(Effect.scoped))

  /** Servers that quote what they were sent, as one whose `AUTH` has another name does, and as proxies do. */
  const quoting: Readonly<Record<string, (command: ReadonlyArray<string>) => string>> = {
    "all of it": ([name, ...args]) =>
      `ERR unknown command '${name}', with args beginning with: ${args.map((arg) => `'${arg}'`).join(" ")}`,
    "its beginning": ([name, ...args]) =>
      `NOAUTH command \`${name}\`: ${args.join(" ").slice(0, "watcher ".length + 12)}`,
    "JSON of it": (command) => `WRONGPASS refused ${JSON.stringify(command)}`
  }
  const secret = "swordfish \"of\" the deep, and longer than what a server quotes"
  for (const [what, wordsOf] of Object.entries(quoting)) {
    for (const kind of ["server", "cluster", "sentinels"] as const) {
      it.live(`a password is in no error and no log of a server (${kind}) that quotes ${what} (R5)`, () =>
        Effect.gen(function*() {
          const sent: Array<string> = []
          const fake = yield* Effect.acquireRelease(
            Effect.promise(() =>
              FakeRedis.start((command, socket, port) => {
                if (!command.some((word) => word.includes("swordfish"))) return healthy(command, socket, port)
                sent.push(...command)
                return `-${wordsOf(command)}\r\n`
              })
            ),
            (fake) => Effect.promise(() => fake.stop())
          )
          const address = { host: "127.0.0.1", port: fake.port }
          const options: IoRedis.Options = {
            username: "watcher",
            password: Redacted.make(secret),
            ...kind === "server" ? address : kind === "cluster" ? { cluster: [address] } : {
              sentinels: [address],
              sentinelUsername: "watcher",
              sentinelPassword: Redacted.make(secret)
            }
          }
          const spoken: Array<unknown> = []
          const logger = Logger.make((line) => {
            spoken.push(line.message, line.cause, line.fiber)
          })
          const written: Array<unknown> = []
          const restore = captureConsole(written)
          yield* Effect.addFinalizer(() => Effect.sync(restore))
          yield* Effect.gen(function*() {
            const storage = yield* Storage
            const redis = yield* Redis.Redis
            const { use } = yield* IoRedis.IoRedis
            const attempts: ReadonlyArray<Effect.Effect<unknown, unknown, Scope.Scope>> = [
              (yield* circuit("secret")).read,
              Stream.runDrain(storage.changes),
              Stream.runDrain(storage.list),
              redis.send("AUTH", "watcher", secret),
              redis.reserve,
              use((client) => client.call("AUTH", "watcher", secret))
            ]
            for (const attempt of attempts) {
              const error = yield* Effect.flip(Effect.timeout(attempt, "3 seconds"))
              spoken.push(error, String(error), JSON.stringify(error), error instanceof Error ? error.stack : undefined)
            }
            const breaker = yield* Breaker.make("secret", { trip: Trip.consecutiveFailures(2) })
            yield* breaker.wrap(Effect.void)
          }).pipe(
            Effect.scoped,
            Effect.provide(layerOn(options)),
            Effect.provide(Logger.layer([logger]))
          )
          assert.include(sent, secret)
          spoken.push(...written)
          const text = spoken.map((one) =>
            typeof one === "string" ? one : inspect(one, { depth: 20, showHidden: true })
          ).join("\n")
          assert.notInclude(text, "swordfish")
          assert.include(text, "<redacted>")
        }).pipe(Effect.scoped))
    }
  }

  it.live("Redis is reached through TLS where that is configured, and an unknown certificate is refused", () =>
    Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.promise(temporaryDirectory),
        (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
      )
      const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")]
      yield* Effect.promise(() => install(["openssl"], ["openssl"]))
      const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
      yield* Effect.promise(() =>
        run("openssl", [...request, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert])
      )
      const tls = yield* Effect.acquireRelease(
        Effect.promise(() => RedisServer.startTls({ key, cert })),
        (tls) => Effect.promise(() => tls.stop())
      )
      const ca = yield* Effect.promise(() => readFile(cert, "utf8"))
      const address = { host: "127.0.0.1", port: tls.port }
      yield* Effect.provide(
        Effect.gen(function*() {
          const storage = yield* Storage
          yield* (yield* circuit("encrypted")).report(failures(1))
          assert.deepEqual(yield* Stream.runCollect(Stream.take(storage.changes, 1)), [{ _tag: "Subscribed" }])
        }),
        layerOn({ ...address, tls: { ca } })
      )
      const stranger = yield* Effect.provide(
        errorOf(Effect.flatMap(circuit("encrypted"), (it) => it.read)),
        layerOn({ ...address, tls: true })
      )
      assert.strictEqual(stranger.reason, "Unavailable")
      assert.include(inspect(stranger.cause), "self-signed certificate")
    }).pipe(Effect.scoped))
})

describe("a Cluster with TLS", () => {
  const certified = Effect.gen(function*() {
    const directory = yield* Effect.acquireRelease(
      Effect.promise(temporaryDirectory),
      (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
    )
    const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")]
    yield* Effect.promise(() => install(["openssl"], ["openssl"]))
    const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    yield* Effect.promise(() =>
      run("openssl", [...request, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert])
    )
    const node = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const bus = ["--cluster-enabled", "yes", "--cluster-port", String(await freePort())]
        return RedisServer.startTls({ key, cert }, [...bus, "--tls-cluster", "yes", "--tls-ca-cert-file", cert])
      }),
      (node) => Effect.promise(() => node.stop())
    )
    yield* Effect.promise(() => node.cli("cluster", "addslotsrange", "0", "16383"))
    return { ca: yield* Effect.promise(() => readFile(cert, "utf8")), node }
  })

  it.live("a Cluster is reached by the name that its certificate is for (R7)", () =>
    Effect.gen(function*() {
      const { ca, node } = yield* certified
      yield* Effect.promise(() => node.cli("config", "set", "cluster-announce-hostname", "localhost"))
      yield* Effect.promise(() => node.cli("config", "set", "cluster-preferred-endpoint-type", "hostname"))
      yield* Effect.provide(
        eventually(
          "the Cluster is ready",
          Effect.map(
            Effect.flatMap(circuit("named"), (it) => it.report(failures(1))),
            ({ snapshot }) => snapshot.lifetime.failure >= 1
          )
        ),
        layerOn({ cluster: [{ host: "localhost", port: node.port }], tls: { ca } })
      )
    }).pipe(Effect.scoped))

  it.live("a Cluster whose certificate is for another name fails with the words of TLS (R7)", () =>
    Effect.gen(function*() {
      const { ca, node } = yield* certified
      const error = yield* Effect.provide(
        errorOf(Effect.flatMap(circuit("unnamed"), (it) => it.read)),
        layerOn({ cluster: [{ host: "127.0.0.1", port: node.port }], tls: { ca } })
      )
      assert.strictEqual(error.reason, "Unavailable")
      assert.include(String(error.cause), "does not match certificate's altnames")
    }).pipe(Effect.scoped))

  it.live("a Cluster that does not let the user in says so (R7)", () =>
    Effect.gen(function*() {
      const guarded = yield* Effect.acquireRelease(
        Effect.promise(() => RedisServer.start("--cluster-enabled", "yes", "--requirepass", "right")),
        (guarded) => Effect.promise(() => guarded.stop())
      )
      const error = yield* Effect.provide(
        errorOf(Effect.flatMap(circuit("x"), (it) => it.read)),
        layerOn({ cluster: [{ host: "127.0.0.1", port: guarded.port }], password: Redacted.make("wrong") })
      )
      assert.strictEqual(error.reason, "Denied")
      assert.include(String(error.cause), "WRONGPASS")
    }).pipe(Effect.scoped))
})

describe("the address of Redis", () => {
  const plain = (options: IoRedis.Options) => ({
    ...options,
    ...options.password === undefined ? {} : { password: Redacted.value(options.password) }
  })

  it("a Redis URL names a server, a Cluster or Sentinels, and a wrong one is a RangeError without its password", () => {
    const urls: Record<string, object> = {
      "redis://localhost": { host: "localhost" },
      "redis://10.0.0.1:6380/4": { host: "10.0.0.1", port: 6380, database: 4 },
      "redis://host/": { host: "host" },
      "redis://[::1]:7000": { host: "::1", port: 7000 },
      "rediss://ann:p%40ss%3A@host:1": { host: "host", port: 1, username: "ann", password: "p@ss:", tls: true },
      "redis://:secret@host": { host: "host", password: "secret" },
      "redis+cluster://a:1,b:2,c": { cluster: [{ host: "a", port: 1 }, { host: "b", port: 2 }, { host: "c" }] },
      "rediss+cluster://u:p@a": { cluster: [{ host: "a" }], username: "u", password: "p", tls: true },
      "redis+sentinel://a,b:2/main/1": {
        sentinels: [{ host: "a" }, { host: "b", port: 2 }],
        master: "main",
        database: 1
      },
      "redis+sentinel://:p@a/main": { sentinels: [{ host: "a" }], master: "main", password: "p" }
    }
    for (const [url, options] of Object.entries(urls)) assert.deepEqual(plain(IoRedis.fromUrl(url)), options, url)
    const none = [
      "",
      "localhost:6379",
      "http://u:secret@localhost",
      "redis://",
      "redis://u:secret@a,b",
      "redis://u:secret@a:99999",
      "redis://u:secret@a/one",
      "redis://u:secret@a/1/2",
      "redis+cluster://u:secret@a,b/1",
      "redis+sentinel://u:secret@a/main/x",
      "redis://u:secret@a:b:c"
    ]
    for (const url of none) {
      assert.throws(() => IoRedis.fromUrl(url), RangeError, "a Redis URL must be", url)
      try {
        IoRedis.fromUrl(url)
      } catch (error) {
        assert.notInclude(inspect(error), "secret")
      }
    }
  })

  const configured = (env: Readonly<Record<string, string>>) =>
    Effect.runSyncExit(Effect.provide(
      Effect.gen(function*() {
        return plain(yield* IoRedis.config)
      }),
      withEnvironment(env)
    ))

  it("environment variables name a Redis", () => {
    const environments: ReadonlyArray<readonly [Record<string, string>, object]> = [
      [{ REDIS_URL: "redis://:p@a:1/2" }, { host: "a", port: 1, database: 2, password: "p" }],
      [{ REDIS_URL: "redis://a", REDIS_HOST: "b", REDIS_POOL_SIZE: "3" }, { host: "a", pool: { maxConnections: 3 } }],
      [{ REDIS_HOST: "a" }, {
        host: "a",
        port: 6379,
        database: 0,
        tls: false,
        username: undefined,
        password: undefined
      }],
      [
        {
          REDIS_HOST: "a",
          REDIS_PORT: "1",
          REDIS_USERNAME: "u",
          REDIS_PASSWORD: "p",
          REDIS_DATABASE: "2",
          REDIS_TLS: "true"
        },
        { host: "a", port: 1, database: 2, tls: true, username: "u", password: "p" }
      ]
    ]
    for (const [env, options] of environments) assert.deepEqual(configured(env), Exit.succeed(options))
  })

  it("missing or invalid environment variables of Redis are a ConfigError without the password", () => {
    const environments: ReadonlyArray<Record<string, string>> = [
      {},
      { REDIS_PORT: "6379", REDIS_PASSWORD: "hidden" },
      { REDIS_URL: "redis//u:hidden@a" },
      { REDIS_URL: "redis://u:hidden%zz@a" },
      { REDIS_HOST: "a", REDIS_PORT: "none", REDIS_PASSWORD: "hidden" }
    ]
    for (const env of environments) {
      const exit = configured(env)
      assert.isTrue(Exit.isFailure(exit))
      assert.include(inspect(exit, { depth: 20 }), "ConfigError")
      assert.notInclude(inspect(exit, { depth: 20, showHidden: true }), "hidden")
    }
    const neither = "REDIS_URL or REDIS_HOST must be set, and neither is"
    assert.include(inspect(configured({ REDIS_PORT: "1" }), { depth: 20 }), neither)
    assert.include(inspect(configured({ REDIS_URL: "redis//a" }), { depth: 20 }), "REDIS_URL: a Redis URL must be")
  })

  it.live("the Redis layer takes its address from any Config", () =>
    Effect.gen(function*() {
      const it = yield* circuit("configured")
      assert.strictEqual((yield* it.report(failures(1))).snapshot.streak, 1)
    }).pipe(
      Effect.provide(RedisStorageLive.layerConfig({
        host: Config.String("CACHE_HOST"),
        port: Config.Port("CACHE_PORT"),
        prefix: Config.succeed("mine:")
      })),
      Effect.provide(withEnvironment({ CACHE_HOST: "127.0.0.1", CACHE_PORT: String(server.port) }))
    ))
})
