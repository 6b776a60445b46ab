/** A server that speaks Redis's protocol and answers what a test tells it to, right or wrong. */
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"

/** A text as RESP writes it. */
export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

type Value = string | number | null | ReadonlyArray<Value>

export const resp = (value: Value): string =>
  value === null
    ? "$-1\r\n"
    : typeof value === "number"
    ? `:${value}\r\n`
    : typeof value === "string"
    ? bulk(value)
    : `*${value.length}\r\n${value.map(resp).join("")}`

/** Answers a command with what is to be sent, or not at all. It may also write by itself. */
export type Answer = (command: ReadonlyArray<string>, socket: Socket, port: number) => string | undefined

const INFO = "redis_version:7.0.0\r\nrole:master\r\nloading:0\r\n"

/** The input of the storage's scripts: `last` is that of a history, and only those that may change a circuit have a channel. */
interface Input {
  readonly request: string
  readonly channel?: string
  readonly last?: number
  readonly withins?: ReadonlyArray<number>
}

/** Answers as a Redis without circuits does, which is also a Sentinel that names itself and a Cluster of itself. */
export const healthy: Answer = ([name = "", ...args], _, port) => {
  switch (`${name} ${args[0] ?? ""}`.toLowerCase().split(" ")[0]) {
    case "info":
      return bulk(INFO)
    case "subscribe":
      return resp(["subscribe", args[0]!, 1])
    case "scan":
      return resp(["0", []])
    case "cluster":
      return args[0]!.toLowerCase() === "slots"
        ? resp([[0, 16_383, ["127.0.0.1", port]]])
        : bulk("cluster_state:ok\r\n")
    case "sentinel":
      return resp(args[0] === "sentinels" ? [] : ["127.0.0.1", String(port)])
    case "eval":
    case "evalsha": {
      const { channel, last, request, withins = [] } = JSON.parse(args.at(-1)!) as Input
      if (last !== undefined) return resp([request, []])
      if (channel === undefined) return resp([request, args[2]!])
      return resp([request, "Refused", String(Date.now()), [], [], withins.flatMap(() => ["0", "0", "0", "0"]), 0, 0])
    }
    default:
      return "+OK\r\n"
  }
}

/** The commands at the beginning of a text, and where they end. */
const commandsIn = (text: string): readonly [commands: ReadonlyArray<ReadonlyArray<string>>, end: number] => {
  const commands: Array<ReadonlyArray<string>> = []
  let end = 0
  for (let at = 0;;) {
    const line = (sign: string): number => {
      const to = text.indexOf("\r\n", at)
      if (to === -1 || text[at] !== sign) return -1
      const length = Number(text.slice(at + 1, to))
      at = to + 2
      return length
    }
    const words: Array<string> = []
    const count = line("*")
    for (let i = 0; i < count; i++) {
      const length = line("$")
      if (length === -1 || text.length < at + length + 2) return [commands, end]
      words.push(text.slice(at, at + length))
      at += length + 2
    }
    if (count === -1) return [commands, end]
    commands.push(words)
    end = at
  }
}

export class FakeRedis {
  readonly port: number
  /** The connections that are open. */
  readonly sockets = new Set<Socket>()
  /** How many connections were closed. */
  closed = 0
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
  }

  static start(answer: Answer): Promise<FakeRedis> {
    return new Promise((resolve) => {
      const server = createServer((socket) => fake.#serve(socket, answer))
      let fake: FakeRedis
      server.listen(0, "127.0.0.1", () => resolve(fake = new FakeRedis(server)))
    })
  }

  #serve(socket: Socket, answer: Answer): void {
    this.sockets.add(socket)
    let received = ""
    socket.on("data", (data) => {
      // Each byte is a character, so lengths are those of the protocol.
      const [commands, end] = commandsIn(received += data.toString("latin1"))
      received = received.slice(end)
      for (const command of commands) {
        const reply = answer(command, socket, this.port)
        if (reply !== undefined && socket.writable) socket.write(reply)
      }
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      this.closed++
      this.sockets.delete(socket)
    })
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
