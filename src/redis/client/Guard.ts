/**
 * Guards ioredis from what a server sends. Its own callbacks assume a server that keeps to the protocol: elsewhere they
 * throw where nobody catches, and the process ends.
 *
 * - `Connectors` has the sockets of all connections of one client, those that the client opens for itself, too. A socket
 *   passes on what a `Wire` has checked, and is destroyed at the first message that it refuses.
 * - `guardCluster` checks the redirections and the slots of a Cluster before the client follows them.
 */
import type { AbstractConnector, Cluster, Redis as Client, RedisOptions, SentinelConnector } from "ioredis"
import { connect, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { Wire, type WireLimits } from "./Wire.ts"

const ignore = (): void => {}

const asError = (thrown: unknown): Error => thrown instanceof Error ? thrown : new Error(String(thrown))

type Connector = NonNullable<RedisOptions["Connector"]>

/** The channel on which Sentinels announce that another server is the master. */
const SWITCHED = "+switch-master"

/** The parts of ioredis that connectors are made of. */
interface Driver {
  readonly AbstractConnector: typeof AbstractConnector
  readonly SentinelConnector: typeof SentinelConnector
}

/** Makes the sockets of one client, and can destroy them all. */
export class Connectors {
  readonly #driver: Driver
  readonly #open = new Set<Socket>()

  constructor(driver: Driver) {
    this.#driver = driver
  }

  /** The connector of connections to servers, to be used as an option of the client. */
  standalone(limits: WireLimits): Connector {
    const guarded = (socket: Socket): Socket => this.#guarded(socket, limits)
    return class extends this.#driver.AbstractConnector {
      readonly #options: RedisOptions

      constructor(options: unknown) {
        super((options as RedisOptions).disconnectTimeout ?? 0)
        this.#options = options as RedisOptions
      }

      override connect(): Promise<Socket> {
        const { family, host, port, tls } = this.#options
        const address = { host: host ?? "localhost", port: port ?? 6379, family: family ?? 0 }
        this.connecting = true
        return Promise.resolve().then(() => {
          if (!this.connecting) throw new Error("Connection is closed.")
          const socket = guarded(tls ? connectTls({ ...address, ...tls }) : connect(address))
          socket.once("error", (error) => {
            this.firstError = error
          })
          this.stream = socket
          return socket
        })
      }
    } as Connector
  }

  /** The connector of connections to the master that Sentinels name. Those to the Sentinels are guarded, too. */
  sentinel(limits: WireLimits): Connector {
    const guarded = (socket: Socket): Socket => this.#guarded(socket, limits)
    const Connector = this.standalone(limits)
    return class extends this.#driver.SentinelConnector {
      constructor(options: unknown) {
        super(options as RedisOptions)
        const parts = this as unknown as Parts
        const connectToSentinel = parts.connectToSentinel.bind(this)
        parts.connectToSentinel = (endpoint, options) => {
          const client = connectToSentinel(endpoint, { ...options, Connector, protocol: 2, autoResubscribe: false })
          // Without a listener the client writes errors to the console, with all that the server quotes.
          client.on("error", ignore)
          // The client subscribes again by itself, and does not await it: its failure would end the process.
          if (options?.retryStrategy) client.on("ready", () => client.subscribe(SWITCHED).catch(ignore))
          return client
        }
      }

      override async connect(...args: Parameters<SentinelConnector["connect"]>): Promise<Socket> {
        const socket = guarded(await super.connect(...args) as Socket)
        return socket
      }

      override check(info: unknown): boolean {
        return super.check(typeof info === "object" && info !== null ? info : {})
      }
    } as Connector
  }

  /** Destroys all sockets. The client then opens new ones. */
  closeAll(reason: string): void {
    for (const socket of this.#open) socket.destroy(new Error(`the connection was closed: ${reason}`))
  }

  #guarded(socket: Socket, limits: WireLimits): Socket {
    const wire = new Wire(limits)
    this.#open.add(socket)
    socket.once("close", () => this.#open.delete(socket))
    const write = socket.write.bind(socket) as (...args: ReadonlyArray<unknown>) => boolean
    socket.write = (chunk: string | Uint8Array, ...rest: ReadonlyArray<unknown>) => {
      wire.sent(typeof chunk === "string" ? Buffer.from(chunk) : chunk, performance.now())
      return write(chunk, ...rest)
    }
    const checked = (listener: (data: Buffer) => void) => (data: Buffer): void => {
      if (socket.destroyed) return
      try {
        wire.received(data, performance.now())
      } catch (thrown) {
        socket.destroy(new Error(`the connection to Redis was closed: ${asError(thrown).message}`))
        return
      }
      listener(data)
    }
    // The client reads replies by the listener that it puts before all others.
    const prepend = socket.prependListener.bind(socket)
    socket.prependListener =
      ((event: string, listener: (...args: Array<any>) => void) =>
        prepend(event, event === "data" ? checked(listener) : listener)) as typeof socket.prependListener
    return socket
  }
}

/** A private part of the connector for Sentinels. */
interface Parts {
  connectToSentinel: (endpoint: unknown, options?: RedisOptions) => Client
}

// -----------------------------------------------------------------------------
// Cluster
// -----------------------------------------------------------------------------

type Callback = (error: unknown, reply?: unknown) => void

/** Private parts of the client of a Cluster. */
interface ClusterParts {
  handleError: (error: Error, ttl: object, handlers: { readonly defaults: () => void }) => void
}

/** Checks what the servers of a Cluster tell its client, before the client follows it. */
export const guardCluster = (cluster: Cluster): void => {
  const parts = cluster as unknown as ClusterParts
  const handleError = parts.handleError.bind(cluster)
  parts.handleError = (error, ttl, handlers) => {
    if (isBadRedirection(error.message)) handlers.defaults()
    else handleError(error, ttl, handlers)
  }
  cluster.on("+node", (node: Client) => {
    answerAsking(node)
    checkSlots(node)
  })
}

/** The client sends `ASKING` for a slot that moves, and does not await it: its failure would end the process. */
const answerAsking = (node: Client): void => {
  const asking = node.asking.bind(node)
  node.asking = (callback = ignore) => asking(callback)
}

/**
 * The client asks for the slots over a duplicate of the connection to a node. It fails with what is wrong with the
 * answer, or with the error of that connection, which the client drops.
 */
const checkSlots = (node: Client): void => {
  const duplicate = node.duplicate.bind(node)
  node.duplicate = (options) => {
    const connection = duplicate(options)
    let reason: unknown
    connection.on("error", (error: unknown) => {
      reason = error
    })
    const send = connection.cluster.bind(connection) as (word: string, callback: Callback) => Promise<unknown>
    connection.cluster = ((word: string, callback: Callback) =>
      send(word, (error, slots) => {
        if (error) callback(reason ?? error)
        else if (isSlots(slots)) callback(null, slots)
        else callback(new Error("a node of the Cluster sent slots that are none"))
      })) as typeof connection.cluster
    return connection
  }
}

const SLOTS = 16_384

const isIndex = (value: unknown, below: number): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value < below

/** Whether it is a list of ranges of slots, each with its servers, in which no slot is twice. */
const isSlots = (value: unknown): boolean => {
  if (!Array.isArray(value)) return false
  let slots = 0
  return value.every((range) => {
    if (!Array.isArray(range)) return false
    const [first, last, ...servers] = range as ReadonlyArray<unknown>
    if (!isIndex(first, SLOTS) || !isIndex(last, SLOTS) || !servers.every(isServer)) return false
    slots += Math.max(0, last - first + 1)
    return slots <= SLOTS
  })
}

/** The host is null where the client should use the one that it has. */
const isServer = (value: unknown): boolean =>
  Array.isArray(value) && (value[0] === null || typeof value[0] === "string") && isIndex(value[1], 65_536)

/** Whether a server redirects a command to an address that is none. */
const isBadRedirection = (message: string): boolean =>
  /^(?:MOVED|ASK)\b/.test(message) && !/^(?:MOVED|ASK) \d+ \S*:\d+/.test(message)
