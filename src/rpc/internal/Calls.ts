/**
 * The calls of clients that wait for a reply.
 *
 * The middleware of a client wraps the sending of a request and not its reply, so the two parts here work together: the middleware
 * takes the permit and stays until the reply, and the client's protocol, which is wrapped, sees the reply first.
 *
 * - A call is settled before its caller has the reply.
 * - A call is known to its protocol from the sending of its request until its middleware ends.
 * - A call that was not sent is not settled: its permit's scope gives it back as `Ignored`.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import type { FromServerEncoded, RequestEncoded } from "effect/rpc/RpcMessage"
import * as Schema from "effect/Schema"
import { BreakerTimeoutError } from "../../BreakerError.ts"
import type { Permit } from "../../Guard.ts"
import { withoutStack } from "../../internal/WithoutStack.ts"
import * as Outcome from "../../Outcome.ts"
import { classifyAnswer, settleBy } from "./Settle.ts"

type Protocol = RpcClient.Protocol["Service"]
type AnyExit = Exit.Exit<unknown, unknown>
type RequestId = RequestEncoded["id"]

/** A client's call that waits for its answer. */
class Call {
  readonly id: RequestId
  readonly rpc: Rpc.AnyWithProps
  readonly permit: Permit
  readonly replied = Deferred.makeUnsafe<void>()
  /** Whether an element of its stream has come. */
  hasElement = false
  /** Whether the policy's `timeout` ended it. */
  hasTimedOut = false
  /** The protocol that it was sent by; `undefined` until it is. */
  sentBy: Sent | undefined

  constructor(id: RequestId, rpc: Rpc.AnyWithProps, permit: Permit) {
    this.id = id
    this.rpc = rpc
    this.permit = permit
  }
}

interface Sent {
  /** The services with which a reply is decoded. */
  readonly context: Context.Context<never>
  /** The reply is no longer waited for. */
  readonly forget: () => void
  /** Tells the server, and the client's own list of requests, that nobody waits for the reply. */
  readonly cancel: Effect.Effect<void>
}

/** The calls on whose behalf a request is sent: one for each breaker that it passes. */
const CurrentCalls = Context.Reference<ReadonlyArray<Call>>("~effect-breaker/rpc/CurrentCalls", {
  defaultValue: () => []
})

// -----------------------------------------------------------------------------
// the middleware
// -----------------------------------------------------------------------------

interface Called<A, E, R> {
  readonly id: RequestId
  readonly rpc: Rpc.AnyWithProps
  readonly send: Effect.Effect<A, E, R>
}

/** Sends a request under a permit, and stays until its reply has settled it or the policy's `timeout` is over. */
export const untilReply = <A, E, R>(
  { id, rpc, send }: Called<A, E, R>,
  permit: Permit
): Effect.Effect<A, E | BreakerTimeoutError, R> =>
  Effect.withFiber((fiber) => {
    const call = new Call(id, rpc, permit)
    const replied = Effect.updateService(send, CurrentCalls, (calls) => [...calls, call]).pipe(
      Effect.tap(() => call.sentBy === undefined ? Effect.die(new Error(UNOBSERVED)) : Deferred.await(call.replied))
    )
    return Effect.onExit(withinTimeout(replied, call), (exit) => {
      const { sentBy } = call
      if (sentBy === undefined) return Effect.void
      sentBy.forget()
      if (Exit.isSuccess(exit)) return Effect.void
      const settled = settleBy(permit, Outcome.fromExit, exit)
      return call.hasTimedOut ? Effect.andThen(settled, cancelAfter(fiber, sentBy)) : settled
    })
  })

const UNOBSERVED =
  "A call's request went past the protocol of BreakerRpc.layerClient, so its outcome cannot be known. " +
  "Provide the client with the RpcClient.Protocol of that layer. RpcTest has none."

/** As the policy's `timeout` of streams, it bounds the wait for a reply or a first element. */
const withinTimeout = <A, E, R>(
  replied: Effect.Effect<A, E, R>,
  call: Call
): Effect.Effect<A, E | BreakerTimeoutError, R> => {
  const { circuit, timeout } = call.permit
  if (timeout === undefined) return replied
  const timedOut = Effect.suspend((): Effect.Effect<never, BreakerTimeoutError> => {
    if (call.hasElement) return Effect.never
    call.hasTimedOut = true
    return Effect.fail(withoutStack(() => new BreakerTimeoutError({ circuit, timeout })))
  })
  return Effect.raceFirst(replied, Effect.andThen(Effect.sleep(timeout), timedOut))
}

/** Cancels a request whose caller has its error, because before that the caller would see the cancellation. */
const cancelAfter = (sender: Fiber.Fiber<unknown, unknown>, { cancel }: Sent): Effect.Effect<void> =>
  Effect.asVoid(Effect.forkDetach(Fiber.await(sender).pipe(Effect.andThen(cancel))))

// -----------------------------------------------------------------------------
// the protocol
// -----------------------------------------------------------------------------

type Deliver = (message: FromServerEncoded) => Effect.Effect<void>
type CallsById = Map<RequestId, ReadonlyArray<Call>>

/** A protocol that settles the calls of its clients by what it receives. */
export const observed = (protocol: Protocol): Protocol => {
  const clients = new Map<number, Client>()
  const clientOf = (clientId: number): Client => {
    let client = clients.get(clientId)
    if (client === undefined) clients.set(clientId, client = new Client(protocol, clientId))
    return client
  }
  return RpcClient.Protocol.of({
    ...protocol,
    send: (clientId, request, transferables) => {
      const sending = protocol.send(clientId, request, transferables)
      return request._tag === "Request"
        ? Effect.andThen(clientOf(clientId).register(request), sending)
        : sending
    },
    run: (clientId, deliver) => {
      const client = clientOf(clientId)
      client.deliver = deliver
      return Effect.ensuring(
        protocol.run(clientId, (message) => client.receive(message)),
        Effect.sync(() => clients.delete(clientId))
      )
    }
  })
}

/** The calls of one client of a protocol. */
class Client {
  readonly #protocol: Protocol
  readonly #clientId: number
  readonly #calls: CallsById = new Map()
  deliver: Deliver = () => Effect.void

  constructor(protocol: Protocol, clientId: number) {
    this.#protocol = protocol
    this.#clientId = clientId
  }

  /** Keeps the calls on whose behalf a request is sent until its reply. */
  register({ id }: RequestEncoded): Effect.Effect<void> {
    return Effect.contextWith((context: Context.Context<never>) => {
      // A request that is sent while another one is made ready has another id. A protocol may be wrapped twice.
      const calls = Context.get(context, CurrentCalls).filter((call) => call.id === id && call.sentBy === undefined)
      if (calls.length === 0) return Effect.void
      const sent: Sent = {
        context,
        forget: () => {
          if (this.#calls.get(id) === calls) this.#calls.delete(id)
        },
        cancel: this.#cancel(id)
      }
      this.#calls.set(id, calls)
      for (const call of calls) call.sentBy = sent
      return Effect.void
    })
  }

  /** The client forgets a request whose `Exit` it gets. Over HTTP nobody else would send one. */
  #cancel(requestId: RequestId): Effect.Effect<void> {
    const interrupted = { _tag: "Failure", cause: [{ _tag: "Interrupt", fiberId: undefined }] } as const
    return this.#protocol.send(this.#clientId, { _tag: "Interrupt", requestId }).pipe(
      Effect.timeout("1 second"),
      Effect.ignore,
      Effect.andThen(Effect.suspend(() => this.deliver({ _tag: "Exit", requestId, exit: interrupted })))
    )
  }

  receive(message: FromServerEncoded): Effect.Effect<void> {
    switch (message._tag) {
      case "Chunk":
        return Effect.andThen(this.#settle(this.#calls.get(message.requestId), sawElement), this.deliver(message))
      case "Exit": {
        const calls = this.#calls.get(message.requestId)
        if (calls === undefined) return this.deliver(message)
        const settled = Effect.forEach(calls, (call) => settleByReply(call, this.#protocol, message.exit))
        // In a fiber of its own, because the replies to other calls do not wait for the storage.
        return Effect.asVoid(
          Effect.forkDetach(Effect.andThen(settled, this.deliver(message)), { startImmediately: true })
        )
      }
      case "Defect":
        return Schema.decodeUnknownEffect(this.#protocol.codecFor(Schema.Defect()))(message.defect).pipe(
          Effect.orDie,
          Effect.flatMap(Effect.die),
          Effect.exit,
          Effect.flatMap((exit) => this.#failAll(exit)),
          Effect.andThen(this.deliver(message))
        )
      case "ClientProtocolError":
        return Effect.andThen(this.#failAll(Exit.fail(message.error)), this.deliver(message))
      default:
        return this.deliver(message)
    }
  }

  #failAll(exit: AnyExit): Effect.Effect<void> {
    return Effect.suspend(() => {
      const calls = [...this.#calls.values()].flat()
      return this.#settle(calls, (call) => ended(call, Outcome.fromExit, exit))
    })
  }

  /** Settles at once. What is left, the report to a strict storage, keeps no other call's message waiting. */
  #settle(calls: ReadonlyArray<Call> = [], settle: (call: Call) => Effect.Effect<void>): Effect.Effect<void> {
    return Effect.forEach(calls, (call) => Effect.forkDetach(settle(call), { startImmediately: true }), {
      discard: true
    })
  }
}

/** A stream may have no end. A probe that delivers when its place is free for another has shown enough. */
const sawElement = (call: Call): Effect.Effect<void> => {
  call.hasElement = true
  const { permit } = call
  const hasLapsed = permit.probe && permit.remaining !== undefined && Duration.isZero(permit.remaining)
  return hasLapsed ? Effect.asVoid(permit.settle(Outcome.success)) : Effect.void
}

const ended = (call: Call, classify: (exit: AnyExit) => Outcome.Outcome, exit: AnyExit): Effect.Effect<void> =>
  Effect.andThen(settleBy(call.permit, classify, exit), Deferred.succeed(call.replied, undefined))

/** A success is not decoded here, because its value does not matter, and the client decodes it once more. */
const settleByReply = (call: Call, { codecFor }: Protocol, reply: unknown): Effect.Effect<void> => {
  if (typeof reply === "object" && reply !== null && "_tag" in reply && reply._tag === "Success") {
    return ended(call, classifyAnswer, Exit.void)
  }
  return Effect.suspend(() => {
    const options = Context.get(call.rpc.annotations, Rpc.ParseOptions)
    return Schema.decodeUnknownEffect(codecFor(Rpc.exitSchema(call.rpc as Rpc.Any)), options)(reply)
  }).pipe(
    Effect.provideContext(call.sentBy!.context as Context.Context<any>),
    Effect.orDie,
    Effect.flatten,
    Effect.exit,
    Effect.flatMap((exit) => ended(call, classifyAnswer, exit))
  )
}
