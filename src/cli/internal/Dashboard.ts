/** `dashboard`: the page over the storage that is named, until it is interrupted. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { layerConfig } from "../../dashboard/Dashboard.ts"
import { nodeHttpServer } from "../../internal/drivers/NodeHttpServer.ts"
import { Storage } from "../../Storage/Storage.ts"
import { usage } from "./Failure.ts"
import { type Flags, layerFailure, print, withStorage } from "./Session.ts"
import { jsonOf } from "./Text.ts"

export const dashboard = (flags: Flags, { host, port }: { readonly host: string; readonly port: number }) =>
  withStorage(flags, ({ secrets, storage }) =>
    Effect.scoped(Effect.gen(function*() {
      const { layer } = yield* Effect.mapError(nodeHttpServer, (error) => usage(error.message))
      const server = createServer()
      const served = HttpRouter.serve(layerConfig(), { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(layer(() => server, { host, port })),
        Layer.provide(Layer.succeed(Storage, storage))
      )
      const context = yield* Effect.mapError(Layer.build(served), (error) => layerFailure(error, secrets))
      // Pages that are open follow events without an end, for which the server would wait.
      yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
      const { address } = Context.get(context, HttpServer.HttpServer)
      const bound = "port" in address ? address.port : port
      const url = `http://${host.includes(":") ? `[${host}]` : host}:${bound}/circuits`
      yield* print(flags.json ? jsonOf({ url }) : `The dashboard is at ${url} until this is interrupted`)
      return yield* Effect.never
    })))
