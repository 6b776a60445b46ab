/** A reply is believed only if it is that of its request, and a request for operators ends. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Result, Stream } from "effect"
import * as Redis from "effect/persistence/Redis"
import { TestClock } from "effect/testing"
import { connect, createServer, type Server, type Socket } from "node:net"
import { failures, FORCED, reading, success } from "../../src/conformance/Law.ts"
import { OPERATOR_DEADLINE_MILLIS } from "../../src/redis/Circuits.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { eventually } from "../support/machine.ts"
import { freePort } from "../support/servers/processes.ts"
import { RedisServer } from "../support/servers/redis.ts"
import { circuit, errorOf, layerOn } from "./support.ts"

let server: RedisServer
beforeAll(async () => {
  server = await RedisServer.start()
})
afterAll(() => server.stop())

const onServer = <A, E>(effect: Effect.Effect<A, E, Storage | Redis.Redis>, port = server.port) =>
  Effect.provide(effect, layerOn({ host: "127.0.0.1", port }))

/** A proxy that sends a reply once more when the next command comes, so that each command gets the reply to another. */
class Doubling {
  readonly port: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  isDoubling = false

  private constructor(port: number, target: number) {
    this.port = port
    this.#server = createServer((client) => {
      const upstream = connect(target, "127.0.0.1")
      for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
        this.#sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => other.destroy())
      }
      let copy: Buffer | undefined
      client.on("data", (data) => {
        if (copy !== undefined) client.write(copy)
        copy = undefined
        upstream.write(data)
      })
      upstream.on("data", (data) => {
        client.write(data)
        if (this.isDoubling) copy = data
        this.isDoubling = false
      })
    })
  }

  static async start(target: number): Promise<Doubling> {
    const proxy = new Doubling(await freePort(), target)
    await new Promise<void>((resolve) => proxy.#server.listen(proxy.port, "127.0.0.1", resolve))
    return proxy
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}

describe("a proxy that sends a reply twice", () => {
  it.live("a reply that a proxy sends twice is believed for no other circuit, and the connection is given up (R2)", () =>
    Effect.gen(function*() {
      const proxy = yield* Effect.acquireRelease(
        Effect.promise(() => Doubling.start(server.port)),
        (proxy) => Effect.sync(() => proxy.stop())
      )
      yield* onServer(
        Effect.gen(function*() {
          const [forced, closed] = [yield* circuit("forced"), yield* circuit("closed")]
          yield* forced.operate({ _tag: "Override", ...FORCED })
          yield* closed.report(failures(1))
          for (let round = 0; round < 20; round++) {
            proxy.isDoubling = true
            for (const it of [forced, closed, forced, closed, closed]) {
              const read = yield* Effect.result(it.read)
              if (Result.isFailure(read)) continue
              assert.strictEqual(read.success.override?.kind, it === forced ? "ForcedOpen" : undefined)
              assert.strictEqual(read.success.lifetime.failure, it === forced ? 0 : 1)
            }
            yield* eventually("the circuits are read again", Effect.as(Effect.andThen(forced.read, closed.read), true))
          }
          assert.strictEqual((yield* closed.read).override, undefined)
          assert.strictEqual((yield* forced.read).override?.kind, "ForcedOpen")
        }),
        proxy.port
      )
    }).pipe(Effect.scoped))

  /** A client whose every reply is that to the request before, from the third on. */
  const lagging = (closed: Array<string>) => {
    const replies: Array<unknown> = []
    const real = Effect.map(Redis.Redis, (redis) =>
      Redis.Redis.of({
        ...redis,
        send: <A>(command: string, ...args: ReadonlyArray<string>) =>
          Effect.map(redis.send(command, ...args), (reply) => {
            replies.push(reply)
            return replies[Math.max(0, replies.length - 2)] as A
          })
      }))
    return Layer.merge(
      Layer.effect(Redis.Redis, real),
      Layer.succeed(RedisStorage.CloseConnections, Effect.sync(() => closed.push("closed")))
    )
  }

  it.live("a reply to another request is Invalid for each operation, and the storage closes the connections (R2)", () =>
    onServer(Effect.gen(function*() {
      // All scripts are known to the server, so each operation is one request.
      const known = yield* circuit("known")
      yield* known.report(failures(1))
      yield* known.operate({ _tag: "HalfOpen" })
      yield* known.ask("a")
      yield* known.settle("a", success())
      yield* (yield* Storage).history("known")
      yield* RedisStorage.repairExpiry()
      const closed: Array<string> = []
      yield* Effect.gen(function*() {
        const storage = yield* Storage
        const [first, other] = [yield* circuit("first"), yield* circuit("other")]
        yield* Effect.ignore(first.read)
        const operations: ReadonlyArray<Effect.Effect<unknown, any>> = [
          other.read,
          first.read,
          first.read,
          first.operate({ _tag: "Reset" }),
          other.operate({ _tag: "Reset" }),
          other.ask("a"),
          first.ask("a"),
          storage.history("first"),
          storage.history("other"),
          Stream.runDrain(storage.list)
        ]
        for (const [i, operation] of operations.entries()) {
          assert.deepInclude(yield* errorOf(operation), { reason: "Invalid" }, String(i))
          assert.lengthOf(closed, i + 1)
        }
        const batch = yield* storage.sync([reading("first", "a"), reading("other", "a")])
        assert.isTrue(batch.every(({ result }) => Result.isFailure(result) && result.failure.reason === "Invalid"))
      }).pipe(Effect.provide(Layer.provideMerge(RedisStorage.layer(), lagging(closed))))
    })))
})

describe("a Redis that never answers", () => {
  const unused = { eval: () => () => Effect.die("not used") }
  const silent = Layer.provide(
    RedisStorage.layer(),
    Layer.mock(Redis.Redis)({ ...unused, send: () => Effect.never })
  )
  const operations = {
    list: Effect.flatMap(Storage, (storage) => Stream.runDrain(storage.list)),
    history: Effect.flatMap(Storage, (storage) => storage.history("x")),
    repairExpiry: Effect.provide(
      RedisStorage.repairExpiry(),
      Layer.mock(Redis.Redis)({ ...unused, send: () => Effect.never })
    )
  }
  for (const [name, operation] of Object.entries(operations)) {
    it.effect(`${name} fails at its deadline on a Redis that never answers (R12)`, () =>
      Effect.gen(function*() {
        const ended = yield* Effect.forkChild(errorOf(operation), { startImmediately: true })
        yield* TestClock.adjust(OPERATOR_DEADLINE_MILLIS - 1)
        assert.isUndefined(ended.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.deepInclude(yield* Fiber.join(ended), { reason: "Deadline", operation: name })
      }).pipe(Effect.provide(silent)))
  }

  it.effect("a page of a list that never comes fails at its deadline (R12)", () =>
    Effect.gen(function*() {
      const ended = yield* Effect.forkChild(errorOf(operations.list), { startImmediately: true })
      yield* TestClock.adjust(OPERATOR_DEADLINE_MILLIS)
      assert.deepInclude(yield* Fiber.join(ended), { reason: "Deadline", operation: "list" })
    }).pipe(Effect.provide(Layer.provide(
      RedisStorage.layer(),
      Layer.mock(Redis.Redis)({
        ...unused,
        send: <A>(command: string, ...args: ReadonlyArray<string>) =>
          command === "SCAN" ? Effect.never : Effect.succeed([JSON.parse(args.at(-1)!).request, args[2]] as A)
      })
    ))))

  it.effect("circuits whose server is silent fail alone, and the others of the batch are answered (R1)", () => {
    const isSilent = (args: ReadonlyArray<string>) => args[2]!.includes("silent")
    const partly = Layer.mock(Redis.Redis)({
      ...unused,
      send: <A>(_: string, ...args: ReadonlyArray<string>) =>
        isSilent(args)
          ? Effect.never
          : Effect.succeed([JSON.parse(args.at(-1)!).request, "Counted", "1732188600000", [], [], [], 0, 0] as A)
    })
    return Effect.gen(function*() {
      const storage = yield* Storage
      const names = ["a", "silent 1", "b", "silent 2", "c"]
      const syncing = yield* Effect.forkChild(
        storage.sync(names.map((name) => ({ ...reading(name, "i"), withins: [] }))),
        { startImmediately: true }
      )
      // Far less than the deadline of the whole batch.
      yield* TestClock.adjust(500)
      const synced = syncing.pollUnsafe()?._tag === "Success" ? yield* Fiber.join(syncing) : []
      assert.deepEqual(
        synced.map(({ circuit, result }) => [circuit, Result.isSuccess(result) ? "answered" : result.failure.reason]),
        names.map((name) => [name, name.startsWith("silent") ? "Deadline" : "answered"])
      )
      const none = yield* Effect.forkChild(
        Effect.exit(storage.sync(["silent 1", "silent 2"].map((name) => reading(name, "i")))),
        { startImmediately: true }
      )
      yield* TestClock.adjust(60_000)
      assert.isUndefined(none.pollUnsafe(), "where no server answers, the caller's deadline ends the batch")
    }).pipe(Effect.provide(Layer.provide(RedisStorage.layer(), partly)))
  })
})
