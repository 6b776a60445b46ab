import { NodeHttpClient, NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Stream } from "effect"
import { HttpClient, HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { fork } from "node:child_process"
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import * as BreakerHttpServer from "../../src/http/HttpServer.ts"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import { eventually } from "../support/machine.ts"
import { make } from "../utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "60 seconds" } as const

/** An upstream on a free port. Its URL. */
const upstream = (answer: (request: IncomingMessage, response: ServerResponse) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async (): Promise<Server> => {
        const server = createServer(answer).listen(0, "127.0.0.1")
        await once(server, "listening")
        return server
      }),
      (server) =>
        Effect.promise(async () => {
          server.closeAllConnections()
          server.close()
          await once(server, "close")
        })
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  )

const guardedBy = <Err>(breaker: Breaker.Breaker<Err>, options: BreakerHttpClient.Options<any>) =>
  Effect.map(HttpClient.HttpClient, (client) => BreakerHttpClient.withBreaker(client, breaker, options))

describe("a guarded client over real sockets", () => {
  const dies = upstream((_request, response) => {
    response.writeHead(200, { "content-length": "1000" })
    response.write("half")
    setImmediate(() => response.destroy())
  })

  it.live("an upstream that dies after the head opens the circuit with bodies: \"end\"", () =>
    Effect.gen(function*() {
      const url = yield* dies
      const breaker = yield* make("dies-end", one)
      const client = yield* guardedBy(breaker, { bodies: "end" })
      yield* Effect.flip(Effect.flatMap(client.get(url), ({ text }) => text))
      assert.strictEqual(yield* breaker.state, "Open")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici)))

  it.live("and not with bodies: \"head\"", () =>
    Effect.gen(function*() {
      const url = yield* dies
      const breaker = yield* make("dies-head", one)
      const client = yield* guardedBy(breaker, {})
      yield* Effect.flip(Effect.flatMap(client.get(url), ({ text }) => text))
      assert.strictEqual(yield* breaker.state, "Closed")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici)))

  it.live("a body that stands still ends at its idle timeout, and its socket is closed", () =>
    Effect.gen(function*() {
      let closed = false
      const url = yield* upstream((_request, response) => {
        response.on("close", () => closed = true)
        response.writeHead(200)
        response.write("a")
      })
      const breaker = yield* make("trickles", one)
      const client = yield* guardedBy(breaker, { bodies: "end", bodyIdleTimeout: "50 millis" })
      const response = yield* client.get(url)
      const error = yield* Effect.flip(Stream.runDrain(response.stream))
      assert.include(error.message, "no bytes of the body for 50 ms")
      assert.strictEqual(yield* breaker.state, "Open")
      yield* eventually("the upstream's socket is closed", Effect.sync(() => closed))
    }).pipe(Effect.provide(NodeHttpClient.layerUndici)))

  it.live("a timeout of the policy closes the socket of a request without a head", () =>
    Effect.gen(function*() {
      let closed = false
      const url = yield* upstream((request) => {
        request.on("close", () => closed = true)
      })
      const client = yield* guardedBy(yield* make("headless", { ...one, timeout: "50 millis" }), {})
      assert.strictEqual((yield* Effect.flip(client.get(url)))._tag, "BreakerTimeoutError")
      yield* eventually("the upstream's socket is closed", Effect.sync(() => closed))
    }).pipe(Effect.provide(NodeHttpClient.layerUndici)))

  it.live("Retry-After as a date is by the upstream's own clock, an hour off", () =>
    Effect.gen(function*() {
      const url = yield* upstream((_request, response) => {
        const now = Date.now() + 3_600_000
        response.writeHead(503, {
          "date": new Date(now).toUTCString(),
          "retry-after": new Date(now + 300_000).toUTCString()
        }).end()
      })
      const client = yield* guardedBy(yield* make("hour-off", one), {})
      yield* client.get(url)
      const error = yield* Effect.flip(client.get(url))
      assert.instanceOf(error, Breaker.BreakerOpenError)
      const seconds = Duration.toSeconds((error as Breaker.BreakerOpenError).retryAfter!)
      assert.isAtMost(seconds, 300)
      assert.isAbove(seconds, 60)
    }).pipe(Effect.provide(NodeHttpClient.layerUndici)))

  it.live("a refused connection is a failure", () =>
    Effect.gen(function*() {
      const url = yield* Effect.scoped(upstream(() => {}))
      const breaker = yield* make("refused", one)
      const client = yield* guardedBy(breaker, {})
      yield* Effect.flip(client.get(url))
      assert.strictEqual(yield* breaker.state, "Open")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici)))
})

describe("a guarded route under load", () => {
  class Route extends Breaker.Service<Route>()("loaded-route", { maxConcurrent: 10_000 }) {}

  it.live("holds 10,000 requests, and gives every place back when their clients disconnect", () =>
    Effect.gen(function*() {
      const { address } = yield* HttpServer.HttpServer
      const url = `http://127.0.0.1:${(address as { readonly port: number }).port}/`
      // The assertion is the cause of the error where it never becomes true, so it says how many there were.
      const running = (count: number) =>
        Effect.map(Effect.flatMap(Route, ({ snapshot }) => snapshot), ({ concurrent }) => {
          assert.strictEqual(concurrent, count)
          return true
        })
      const clients = yield* Effect.forEach(
        [1, 2, 3, 4],
        () =>
          Effect.acquireRelease(
            Effect.sync(() => fork(new URL("clients.ts", import.meta.url), [`${url}slow`, "2500"], { execArgv: [] })),
            (child) => Effect.sync(() => child.kill())
          )
      )
      yield* eventually("10,000 requests are in flight", running(10_000))
      const full = yield* HttpClient.get(`${url}slow`)
      assert.strictEqual(full.status, 503)
      assert.strictEqual(full.headers["retry-after"], "1")
      for (const child of clients) child.send("leave")
      yield* eventually("no place is taken", running(0))
      const { statistics } = yield* Effect.flatMap(Route, ({ snapshot }) => snapshot)
      assert.strictEqual(statistics.ignored, 10_000)
      assert.strictEqual(statistics.failure, 0)
      assert.strictEqual((yield* HttpClient.get(`${url}fast`)).status, 204)
    }).pipe(
      Effect.provide(
        HttpRouter.serve(
          Layer.mergeAll(
            HttpRouter.add("GET", "/slow", Effect.never),
            HttpRouter.add("GET", "/fast", Effect.succeed(HttpServerResponse.empty()))
          ).pipe(Layer.provide(BreakerHttpServer.guard(Route).layer)),
          { disableLogger: true, disableListenLog: true }
        ).pipe(
          Layer.provideMerge(Route.layer),
          Layer.provide(Storage.MemoryStorageLive),
          Layer.provideMerge(
            NodeHttpServer.layerServer(() => createServer({ noDelay: true }), { port: 0, host: "127.0.0.1" })
          ),
          Layer.provideMerge(NodeHttpClient.layerUndici)
        )
      )
    ))
})
