/**
 * Posts an alert to a webhook when a circuit opens and when it closes, outside the calls: a slow webhook slows no call.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Console, Effect, Layer, Queue, Schedule } from "effect"
import { HttpClient, HttpClientRequest, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Breaker, Storage, Trip } from "../src/index.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(2),
  openFor: "50 millis"
}) {}

// In production this is the address of a chat or a pager; here the client's own server takes its place.
const webhook = "/alerts"

const post = (text: string) =>
  HttpClientRequest.post(webhook).pipe(HttpClientRequest.bodyJsonUnsafe({ text }), HttpClient.execute)

const alerts = Breaker.onEvent(Payments, (event) => {
  if (event._tag !== "Transition" || event.from === event.to) return Effect.void
  if (event.to === "Open") return post(`${event.circuit} is OPEN: ${event.reason}`)
  if (event.to === "Closed") return post(`${event.circuit} is closed again: ${event.reason}`)
  return Effect.void
})

const standIn = (received: Queue.Queue<string>) =>
  HttpServerRequest.HttpServerRequest.pipe(
    Effect.flatMap((request) => request.text),
    Effect.flatMap((body) => Queue.offer(received, body)),
    Effect.as(HttpServerResponse.empty())
  )

const program = Effect.gen(function*() {
  const received = yield* Queue.unbounded<string>()
  yield* HttpServer.serveEffect(standIn(received))
  const nextAlert = Effect.flatMap(Queue.take(received), (alert) => Console.log(`the webhook got ${alert}`))

  yield* Effect.replicateEffect(Effect.ignore(Payments.wrap(Effect.fail("declined"))), 2)
  yield* nextAlert
  // The first call after the open time is the probe, whose success closes the circuit.
  yield* Effect.retry(Payments.wrap(Effect.succeed("charged")), Schedule.spaced("10 millis"))
  yield* nextAlert
})

const layers = alerts.pipe(
  Layer.provideMerge(Layer.mergeAll(Payments.layer, NodeHttpServer.layerTest)),
  Layer.provide(Storage.MemoryStorageLive)
)

await program.pipe(Effect.scoped, Effect.provide(layers), Effect.runPromise)
