/** A shop that asks two upstreams, and the same for each step of the move. */
import type { Server } from "node:http"
import { router } from "./Router.ts"

/** Runs a call to an upstream through its breaker. */
export type Guarded = <A>(call: (signal?: AbortSignal) => Promise<A>) => Promise<A>

/** An answer to a request whose call was rejected: 503, and when to come back, in seconds, where that is known. */
export interface Rejected {
  readonly retryAfter: number | undefined
}

export interface Breakers {
  readonly prices: Guarded
  readonly stock: Guarded
  /** The rejection that an error is, if it is one. */
  readonly rejected: (error: unknown) => Rejected | undefined
}

const upstream = async (isSick: () => boolean) => {
  const app = router()
  app.get("/", async (response) => void response.writeHead(isSick() ? 500 : 200).end("42"))
  return app.listen()
}

const fetched = (url: string) => async (signal?: AbortSignal): Promise<string> => {
  const response = await fetch(url, signal ? { signal } : {})
  if (!response.ok) throw new Error(`the upstream answers ${response.status}`)
  return response.text()
}

const shop = async (
  { prices, rejected, stock }: Breakers,
  urls: { readonly prices: string; readonly stock: string }
) => {
  const app = router()
  app.get("/price", async (response) => void response.end(await prices(fetched(urls.prices))))
  app.get("/stock", async (response) => void response.end(await stock(fetched(urls.stock))))
  app.onError((error, response) => {
    const rejection = rejected(error)
    if (rejection === undefined) return void response.writeHead(502).end()
    const { retryAfter } = rejection
    response.writeHead(503, retryAfter === undefined ? {} : { "Retry-After": retryAfter }).end()
  })
  return app.listen()
}

const close = (server: Server) =>
  new Promise((resolve) => {
    server.close(resolve)
    server.closeAllConnections()
  })

/** Asks the shop four times while its upstreams are well, and seven times while they are sick. Prints the answers. */
export const play = async (breakers: Breakers): Promise<void> => {
  let isSick = false
  const upstreams = [await upstream(() => isSick), await upstream(() => isSick)] as const
  const { server, url } = await shop(breakers, { prices: upstreams[0].url, stock: upstreams[1].url })
  for (const path of ["/price", "/stock"]) {
    for (const [health, times] of [["well", 4], ["sick", 7]] as const) {
      isSick = health === "sick"
      const statuses: Array<string> = []
      for (let i = 0; i < times; i++) {
        const { headers, status } = await fetch(url + path)
        statuses.push(headers.has("retry-after") ? `${status} (come back later)` : String(status))
      }
      console.log(`${path}, ${health}: ${statuses.join(", ")}`)
    }
  }
  for (const each of [server, upstreams[0].server, upstreams[1].server]) await close(each)
}
