/**
 * A gateway with three circuits, in front of an upstream that can be made slow, failing, dead or overloaded: run it with `npm start`
 * and follow its banner. It listens on 127.0.0.1 only, on PORT (default 8080; 0 takes any free one). CIRCUIT_BREAKER_CONFIG names a
 * file that configures its circuits, `orders`, `search`, `offers` and `load`: see docs/configuration.md.
 */
import { NodeHttpClient, NodeHttpServer, NodeRuntime, NodeServices } from "@effect/platform-node"
import { Config, Console, Data, Effect, Layer, Logger, Option, Runtime, Schedule, Schema, Stream } from "effect"
import { HttpClient, HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import * as BreakerMetrics from "../src/observability/BreakerMetrics.ts"
import { Circuits } from "./gateway/Circuits.ts"
import { Changes, Journal } from "./gateway/Journal.ts"
import { AnswerLog } from "./gateway/Report.ts"
import { Routes } from "./gateway/Routes.ts"
import { Screen } from "./gateway/Screen.ts"
import { Shop } from "./gateway/Shop.ts"
import { Upstream } from "./gateway/Upstream.ts"

// -----------------------------------------------------------------------------
// the server
// -----------------------------------------------------------------------------

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))

class NoPort extends Data.TaggedError("NoPort") {}

const listenOn = (port: number) =>
  NodeHttpServer.layerServer(createServer, { port, host: "127.0.0.1", gracefulShutdownTimeout: "1 second" })

/** Uses the PORT that is set or fails. The default port is replaced by a free one if it is taken. */
const Server = Layer.unwrap(Effect.gen(function*() {
  const port = yield* Effect.mapError(
    Config.option(Config.schema(Schema.NumberFromString.pipe(Schema.decodeTo(Port)), "PORT")),
    () => new NoPort()
  )
  if (Option.isSome(port)) return listenOn(port.value)
  const { note } = yield* Journal
  return listenOn(8080).pipe(
    Layer.catch(() => listenOn(0).pipe(Layer.tap(() => note("Port 8080 is taken, so this is on a free one"))))
  )
}))

const Gateway = HttpRouter.serve(Routes, { disableLogger: true, disableListenLog: true })

// -----------------------------------------------------------------------------
// the traffic
// -----------------------------------------------------------------------------

/** Traffic of five calls a second to each circuit, however slowly they are answered. */
const Traffic = Layer.effectDiscard(Effect.gen(function*() {
  const client = yield* HttpClient.HttpClient
  const url = yield* HttpServer.addressFormattedWith(Effect.succeed)
  const call = (path: string) => Effect.ignore(Effect.flatMap(client.get(`${url}${path}`), (response) => response.text))
  yield* Stream.fromSchedule(Schedule.spaced("200 millis")).pipe(
    Stream.mapEffect(() => Effect.forEach(["/orders", "/search", "/offers"], call, { concurrency: 3 }), {
      concurrency: "unbounded",
      unordered: true
    }),
    Stream.runDrain,
    Effect.forkScoped
  )
}))

// -----------------------------------------------------------------------------
// the program
// -----------------------------------------------------------------------------

const Metrics = BreakerMetrics.layer({ durations: true, errors: true })

const App = Layer.mergeAll(Changes, Screen, Traffic, Metrics).pipe(
  Layer.provideMerge(Gateway),
  Layer.provide(Shop.layer),
  Layer.provide(Layer.mergeAll(Server, Upstream.layer, AnswerLog.layer)),
  // Before the servers, which would have to be stopped again if this fails.
  Layer.provide(Circuits),
  // The screen shows each change of a circuit, so nothing else is written to the terminal.
  Layer.provide(Layer.mergeAll(Journal.layer, NodeHttpClient.layerUndici, NodeServices.layer, Logger.layer([])))
)

const notStarted = (why: string) =>
  Effect.andThen(
    Console.error(`The gateway did not start: ${why}`),
    Effect.sync(() => {
      process.exitCode = 1
    })
  )

const program = Layer.launch(App).pipe(
  Effect.onInterrupt(() => Console.log("Stopped. Both servers are closed.")),
  Effect.catchTags({
    NoPort: () => notStarted("PORT must be a whole number from 0 to 65535. 0 takes any free port."),
    ConfigError: ({ message }) => notStarted(message),
    BreakerConfigError: ({ message }) => notStarted(message),
    ServeError: ({ cause }) => notStarted(`${cause}. Set PORT to another port, or to 0 for any free one.`)
  })
)

// The program ends by being interrupted, so that is no error.
NodeRuntime.runMain(program, {
  teardown: (exit, onExit) => Runtime.defaultTeardown(exit, (code) => onExit(code === 130 ? 0 : code))
})
