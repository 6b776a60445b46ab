/**
 * The upstream of a fleet: one server with several services. A test sets how often each fails and how long it takes.
 */
import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

export interface Health {
  /** The share of calls that fail. */
  readonly failing: number
  /** How many milliseconds a call takes. */
  readonly takes: number
}

const well: Health = { failing: 0, takes: 2 }

export class Upstream {
  readonly #server: Server
  readonly #health = new Map<string, Health>()
  /** How often each service was called. */
  readonly calls = new Map<string, number>()

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<Upstream> {
    const server = createServer()
    const upstream = new Upstream(server)
    server.on("request", (request, response) => {
      void upstream.#answer(request.url!.slice(1)).then((status) => response.writeHead(status).end())
    })
    // Callers keep their connections, even while they are paused.
    server.keepAliveTimeout = 0
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return upstream
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  be(service: string, health: Partial<Health>): void {
    this.#health.set(service, { ...well, ...health })
  }

  async #answer(service: string): Promise<number> {
    this.calls.set(service, (this.calls.get(service) ?? 0) + 1)
    const { failing, takes } = this.#health.get(service) ?? well
    await sleep(takes)
    return Math.random() < failing ? 500 : 200
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, "close")
  }
}
