/** Routes with handlers that return promises, as of Express, on `node:http`. */
import { createServer, type Server, type ServerResponse } from "node:http"

export type Handler = (response: ServerResponse) => Promise<void>
export type ErrorHandler = (error: unknown, response: ServerResponse) => void

export const router = () => {
  const handlers = new Map<string, Handler>()
  let onError: ErrorHandler = (_, response) => response.writeHead(500).end()
  return {
    get: (path: string, handler: Handler) => handlers.set(path, handler),
    onError: (handler: ErrorHandler) => {
      onError = handler
    },
    /** Listens on a free port, and returns the URL. */
    listen: (): Promise<{ readonly server: Server; readonly url: string }> => {
      const server = createServer((request, response) => {
        const handler = handlers.get(request.url ?? "")
        if (handler === undefined) response.writeHead(404).end()
        else handler(response).catch((error: unknown) => onError(error, response))
      })
      return new Promise((resolve) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          if (address === null || typeof address === "string") throw new Error("the server has no port")
          resolve({ server, url: `http://127.0.0.1:${address.port}` })
        })
      })
    }
  }
}
