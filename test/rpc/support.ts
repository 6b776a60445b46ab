/** RPC clients and servers in one process, with the protocol's own messages between them. */
import { Effect, Layer, Queue, Ref } from "effect"
import {
  type Rpc,
  RpcClient,
  type RpcClientError,
  type RpcGroup,
  type RpcMessage,
  RpcSerialization,
  RpcServer
} from "effect/rpc"

const { codecFor } = RpcSerialization.json

type ToServer = (clientId: number, message: RpcMessage.FromClientEncoded) => Effect.Effect<void>
type ToClient = (clientId: number, message: RpcMessage.FromServerEncoded) => Effect.Effect<void>

/** A client's protocol that is linked to a server of `group`. `sent` counts the requests that reached the server. */
export const linked = <Rpcs extends Rpc.Any>(
  group: RpcGroup.RpcGroup<Rpcs>,
  options: { readonly disableFatalDefects?: boolean } = {}
) =>
  Effect.gen(function*() {
    const sent = yield* Ref.make(0)
    let toServer: ToServer = () => Effect.void
    let toClient: ToClient = () => Effect.void
    let clientIds: ReadonlySet<number> = new Set()
    const disconnects = yield* Queue.make<number>()
    const server = yield* RpcServer.Protocol.make((write) => {
      toServer = write
      return Effect.succeed({
        disconnects,
        send: (clientId: number, message: RpcMessage.FromServerEncoded) => toClient(clientId, message),
        end: () => Effect.void,
        clientIds: Effect.succeed(new Set<number>()),
        initialMessage: Effect.succeedNone,
        supportsAck: true,
        supportsTransferables: false,
        supportsSpanPropagation: false,
        supportsNotifications: false,
        codecFor
      })
    })
    const protocol = yield* RpcClient.Protocol.make((write, ids) => {
      toClient = write
      clientIds = ids
      return Effect.succeed({
        send: (clientId: number, message: RpcMessage.FromClientEncoded) =>
          Effect.andThen(
            message._tag === "Request" ? Ref.update(sent, (n) => n + 1) : Effect.void,
            toServer(clientId, message)
          ),
        supportsAck: true,
        supportsTransferables: false,
        codecFor
      })
    })
    yield* Layer.build(RpcServer.layer(group, options).pipe(Layer.provide(Layer.succeed(RpcServer.Protocol, server))))
    const answer = (message: RpcMessage.FromServerEncoded) => Effect.forEach(clientIds, (id) => toClient(id, message))
    const fail = (error: RpcClientError.RpcClientError) => answer({ _tag: "ClientProtocolError", error })
    return { protocol, sent: Ref.get(sent), answer, fail }
  })
