/** A circuit for each host: a host that is down does not affect calls to the others. */
import { NodeHttpServer } from "@effect/platform-node"
import { Console, Effect, Exit, Layer } from "effect"
import { FetchHttpClient, HttpClient, HttpServer, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"

class Hosts extends Breaker.KeyedService<Hosts>()("http", {
  trip: Trip.consecutiveFailures(2),
  openFor: "30 seconds",
  capacity: 1000
}) {}

/** A status of 500 or more is the host's failure, although the request was answered. */
const get = (url: URL) =>
  HttpClient.get(url).pipe(Hosts.wrap({
    key: url.host,
    classify: (exit) => Exit.isSuccess(exit) && exit.value.status >= 500 ? Outcome.failure() : Outcome.fromExit(exit)
  }))

/** A local host that answers every request with this status. */
const hostThatAnswers = Effect.fnUntraced(function*(status: number) {
  const server = yield* NodeHttpServer.make(createServer, { port: 0, host: "127.0.0.1" })
  yield* server.serve(Effect.succeed(HttpServerResponse.empty({ status })))
  return new URL(HttpServer.formatAddress(server.address))
})

const ask = (name: string, url: URL) =>
  get(url).pipe(
    Effect.match({
      onSuccess: ({ status }) => `${name} answers ${status}`,
      onFailure: ({ _tag }) => `${name} is not called: ${_tag}`
    }),
    Effect.flatMap(Console.log)
  )

const program = Effect.gen(function*() {
  const good = yield* hostThatAnswers(200)
  const bad = yield* hostThatAnswers(500)
  for (let round = 1; round <= 3; round++) {
    yield* ask("bad host", bad)
    yield* ask("good host", good)
  }
  const hosts = yield* Hosts
  yield* Console.log(`${yield* hosts.size} circuits, the bad host's is ${yield* hosts.get(bad.host).state}`)
})

const layers = Layer.mergeAll(Hosts.layer, FetchHttpClient.layer).pipe(Layer.provide(Storage.MemoryStorageLive))

await program.pipe(Effect.scoped, Effect.provide(layers), Effect.runPromise)
