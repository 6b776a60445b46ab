/** The service behind the gateway, on a port of its own, and its mode: healthy, slow, failing, dead or overloaded. */
import { NodeHttpServer, NodeHttpServerRequest } from "@effect/platform-node"
import { Clock, Context, Effect, Layer, Random, Ref, Schema } from "effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"

export const Mode = Schema.Literals(["healthy", "slow", "failing", "dead", "half"])
export type Mode = typeof Mode.Type

/** A description of the upstream in each mode, for the screen. */
export const inWords: Record<Mode, string> = {
  healthy: "healthy, answers at once",
  slow: "slow, answers after 1.5 seconds",
  failing: "failing, answers 500",
  dead: "dead, drops every connection",
  half: "overloaded, fails all but 2 calls a second of each kind"
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
    case "half":
      return Effect.flatMap(takesOneMore, (takes) => takes ? goods : overloaded)
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

const overloaded = Effect.delay(Effect.succeed(HttpServerResponse.text("overloaded\n", { status: 503 })), "600 millis")

/** When each path takes its next call, of two a second. A call may come one turn early, because calls do not come evenly. */
const turns = new Map<string, number>()
const TURN_MILLIS = 500

const takesOneMore = Effect.gen(function*() {
  const { url } = yield* HttpServerRequest.HttpServerRequest
  const now = yield* Clock.currentTimeMillis
  const turn = Math.max(now, turns.get(url) ?? now)
  if (turn - now > TURN_MILLIS) return false
  turns.set(url, turn + TURN_MILLIS)
  return true
})
