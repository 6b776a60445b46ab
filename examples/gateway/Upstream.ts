/** The service behind the gateway, on a port of its own, and its mode: healthy, slow, failing or dead. */
import { NodeHttpServer, NodeHttpServerRequest } from "@effect/platform-node"
import { Context, Effect, Layer, Random, Ref, Schema } from "effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

export const Mode = Schema.Literals(["healthy", "slow", "failing", "dead"])
export type Mode = typeof Mode.Type

/** A description of the upstream in each mode, for the screen. */
export const inWords: Record<Mode, string> = {
  healthy: "healthy, answers at once",
  slow: "slow, answers after 1.5 seconds",
  failing: "failing, answers 500",
  dead: "dead, drops every connection"
}

export class Upstream extends Context.Service<Upstream, {
  readonly url: string
  readonly mode: Effect.Effect<Mode>
  readonly become: (mode: Mode) => Effect.Effect<void>
}>()("gateway/Upstream") {
  static readonly layer = Layer.effect(
    Upstream,
    Effect.gen(function*() {
      const mode = yield* Ref.make<Mode>("healthy")
      const server = yield* HttpServer.HttpServer
      // A handler outside of a router is uninterruptible: a slow answer would delay the end of the program.
      yield* server.serve(Effect.interruptible(Effect.flatMap(Ref.get(mode), answer)))
      return Upstream.of({
        url: HttpServer.formatAddress(server.address),
        mode: Ref.get(mode),
        become: (next) => Ref.set(mode, next)
      })
    })
  ).pipe(
    Layer.provide(NodeHttpServer.layerServer(createServer, {
      port: 0,
      host: "127.0.0.1",
      gracefulShutdownTimeout: "1 second"
    }))
  )
}

const answer = (mode: Mode) => {
  switch (mode) {
    case "healthy":
      return Effect.flatMap(Random.nextBetween(10, 40), (millis) => Effect.delay(goods, millis))
    case "slow":
      return Effect.delay(goods, "1.5 seconds")
    case "failing":
      return Effect.succeed(HttpServerResponse.text("the database is gone\n", { status: 500 }))
    case "dead":
      return hangUp
  }
}

const goods = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ url }) => HttpServerResponse.jsonUnsafe({ [url.slice(1)]: ["tea", "biscuits"] })
)

const hangUp = Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
  NodeHttpServerRequest.toServerResponse(request).destroy()
  return HttpServerResponse.empty()
})
