/** Real Redis servers on free ports of loopback: one, a Cluster of six, and a master with a replica under three Sentinels. */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { freePort, install, Program, run, temporaryDirectory, until } from "./processes.ts"

export const installRedis = (): Promise<void> =>
  install(["redis-server", "redis-sentinel", "redis-cli"], ["redis-server", "redis-sentinel", "redis-tools"])

/** What `redis-cli` answers. */
export const cli = async (port: number, ...command: ReadonlyArray<string>): Promise<string> => {
  const { stdout } = await run("redis-cli", ["-h", "127.0.0.1", "-p", String(port), ...command])
  return stdout.trimEnd()
}

/** A key and a certificate, with which a server speaks TLS alone. */
export interface Certificate {
  readonly key: string
  readonly cert: string
}

export class RedisServer {
  readonly port: number
  readonly #directory: string
  readonly #args: ReadonlyArray<string>
  readonly #tls: ReadonlyArray<string>
  #program: Program

  private constructor(
    port: number,
    directory: string,
    args: ReadonlyArray<string>,
    tls: ReadonlyArray<string>,
    program: Program
  ) {
    this.port = port
    this.#directory = directory
    this.#args = args
    this.#tls = tls
    this.#program = program
  }

  /** One that keeps nothing on disk, with more arguments of its own. */
  static start(...more: ReadonlyArray<string>): Promise<RedisServer> {
    return RedisServer.#start((port) => ["--port", port, ...more], [])
  }

  static startTls({ cert, key }: Certificate): Promise<RedisServer> {
    const files = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"]
    return RedisServer.#start((port) => ["--port", "0", "--tls-port", port, ...files], ["--tls", "--insecure"])
  }

  static async #start(
    argsOf: (port: string) => ReadonlyArray<string>,
    tls: ReadonlyArray<string>
  ): Promise<RedisServer> {
    await installRedis()
    // Somebody else may have taken a port that was free.
    for (let tries = 0;; tries++) {
      const [port, directory] = [await freePort(), await temporaryDirectory()]
      const args = [...argsOf(String(port)), "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
      const program = await Program.start(directory, "redis-server", args)
      const server = new RedisServer(port, directory, args, tls, program)
      try {
        await server.#answers()
        return server
      } catch (error) {
        const output = await program.output()
        await server.stop()
        if (tries === 3) throw new Error(`redis-server does not start: ${output}`, { cause: error })
      }
    }
  }

  #answers(): Promise<void> {
    const isUp = async () => {
      if (!this.#program.isRunning) throw new Error("it has ended")
      return /PONG|NOAUTH/.test(await this.cli("ping"))
    }
    return until("redis-server answers", isUp, 5000)
  }

  get isRunning(): boolean {
    return this.#program.isRunning
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  cli(...command: ReadonlyArray<string>): Promise<string> {
    return cli(this.port, ...this.#tls, ...command)
  }

  /** Lets it hear nothing and answer nothing, its connections open. */
  pause(): void {
    this.#program.signal("SIGSTOP")
  }

  resume(): void {
    this.#program.signal("SIGCONT")
  }

  kill(): Promise<void> {
    return this.#program.stop("SIGKILL")
  }

  /** Starts it again where it was, with what it has kept: nothing. */
  async restart(): Promise<void> {
    await this.#program.stop("SIGKILL")
    this.#program = await Program.start(this.#directory, "redis-server", this.#args)
    await this.#answers()
  }

  async stop(): Promise<void> {
    await this.#program.stop()
    await this.#program.remove()
  }
}

/** Three masters with a replica each. */
export class RedisCluster {
  readonly nodes: ReadonlyArray<RedisServer>

  private constructor(nodes: ReadonlyArray<RedisServer>) {
    this.nodes = nodes
  }

  static async start(): Promise<RedisCluster> {
    const nodes: Array<RedisServer> = []
    const cluster = new RedisCluster(nodes)
    try {
      for (let i = 0; i < 6; i++) {
        const bus = String(await freePort())
        nodes.push(
          await RedisServer.start("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "2000")
        )
      }
      const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
      await run("redis-cli", ["--cluster", "create", ...addresses, "--cluster-replicas", "1", "--cluster-yes"])
      await until("the Cluster is ready", async () => {
        const states = await Promise.all(nodes.map(async (node) => {
          const [info, shards] = [await node.cli("cluster", "info"), await node.cli("cluster", "nodes")]
          return info.includes("cluster_state:ok") && shards.match(/\bslave /g)?.length === 3
        }))
        return states.every((isOk) => isOk)
      })
      return cluster
    } catch (error) {
      await cluster.stop()
      throw error
    }
  }

  get url(): string {
    return `redis+cluster://${this.nodes.slice(0, 3).map(({ port }) => `127.0.0.1:${port}`).join(",")}`
  }

  /** On all masters, as one would on one server. */
  async masters(): Promise<ReadonlyArray<RedisServer>> {
    const roles = await Promise.all(this.nodes.map(async (node) => (await node.cli("role")).startsWith("master")))
    return this.nodes.filter((_, i) => roles[i])
  }

  /** Moves the slot of a key to another master, its keys one by one, as resharding does. */
  async move(key: string): Promise<void> {
    const slot = await this.cli("cluster", "keyslot", key)
    const masters = await this.masters()
    const ids = await Promise.all(masters.map((master) => master.cli("cluster", "myid")))
    const counts = await Promise.all(masters.map((master) => master.cli("cluster", "countkeysinslot", slot)))
    const from = counts.findIndex((count) => count !== "0")
    const to = (from + 1) % masters.length
    const [source, target] = [masters[from]!, masters[to]!]
    await target.cli("cluster", "setslot", slot, "importing", ids[from]!)
    await source.cli("cluster", "setslot", slot, "migrating", ids[to]!)
    const keys = (await source.cli("cluster", "getkeysinslot", slot, "100")).split("\n")
    for (const moved of keys) {
      await source.cli("migrate", "127.0.0.1", String(target.port), moved, "0", "5000")
      await sleep(20)
    }
    for (const master of [target, source, ...masters]) await master.cli("cluster", "setslot", slot, "node", ids[to]!)
  }

  /** Follows the Cluster's directions. */
  async cli(...command: ReadonlyArray<string>): Promise<string> {
    return cli(this.nodes[0]!.port, "-c", ...command)
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }
}

const sentinelConfig = (port: number, directory: string, master: number): string =>
  [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${directory}`,
    `sentinel monitor mymaster 127.0.0.1 ${master} 2`,
    "sentinel down-after-milliseconds mymaster 2000",
    "sentinel failover-timeout mymaster 5000",
    ""
  ].join("\n")

/** A master with a replica, watched by three Sentinels. */
export class RedisSentinels {
  readonly servers: ReadonlyArray<RedisServer>
  readonly ports: ReadonlyArray<number>
  readonly #sentinels: ReadonlyArray<Program>

  private constructor(
    servers: ReadonlyArray<RedisServer>,
    ports: ReadonlyArray<number>,
    sentinels: ReadonlyArray<Program>
  ) {
    this.servers = servers
    this.ports = ports
    this.#sentinels = sentinels
  }

  static async start(): Promise<RedisSentinels> {
    const servers: Array<RedisServer> = []
    const ports: Array<number> = []
    const sentinels: Array<Program> = []
    const set = new RedisSentinels(servers, ports, sentinels)
    try {
      const master = await RedisServer.start("--repl-diskless-sync-delay", "0")
      servers.push(master)
      servers.push(await RedisServer.start("--replicaof", "127.0.0.1", String(master.port)))
      for (let i = 0; i < 3; i++) {
        const [port, directory] = [await freePort(), await temporaryDirectory()]
        const file = join(directory, "sentinel.conf")
        await writeFile(file, sentinelConfig(port, directory, master.port))
        sentinels.push(await Program.start(directory, "redis-sentinel", [file]))
        ports.push(port)
        await until("a Sentinel answers", async () => await cli(port, "ping") === "PONG", 5000)
        // They would look and speak once in some seconds.
        await cli(port, "sentinel", "debug", "info-period", "500", "publish-period", "500")
      }
      await until("the Sentinels know each other and the replica", async () => {
        const views = await Promise.all(ports.map((port) => cli(port, "sentinel", "master", "mymaster")))
        return views.every((view) => {
          const lines = view.split("\n")
          const value = (name: string) => lines[lines.indexOf(name) + 1]
          return value("num-slaves") === "1" && value("num-other-sentinels") === "2"
        })
      }, 30_000)
      return set
    } catch (error) {
      await set.stop()
      throw error
    }
  }

  get url(): string {
    return `redis+sentinel://${this.ports.map((port) => `127.0.0.1:${port}`).join(",")}/mymaster`
  }

  async master(): Promise<RedisServer> {
    const [, port] = (await cli(this.ports[0]!, "sentinel", "get-master-addr-by-name", "mymaster")).split("\n")
    return this.servers.find((server) => String(server.port) === port)!
  }

  async cli(...command: ReadonlyArray<string>): Promise<string> {
    return (await this.master()).cli(...command)
  }

  /** Has the replica take over while the master still answers. */
  async failover(): Promise<void> {
    await cli(this.ports[0]!, "sentinel", "failover", "mymaster")
  }

  /** Starts whoever was killed, and waits until there is a replica that keeps up, and all Sentinels say so. */
  async healed(): Promise<void> {
    for (const server of this.servers) {
      if (!server.isRunning) await server.restart()
    }
    await until("the replica keeps up", async () => {
      const views = await Promise.all(this.ports.map((port) => cli(port, "sentinel", "replicas", "mymaster")))
      const info = await this.cli("info", "replication")
      return info.includes("role:master") && info.includes("state=online") &&
        views.every((view) => /\nflags\nslave\n/.test(view) && /\nmaster-link-status\nok\n/.test(view))
    }, 60_000)
  }

  /** Waits until another than this is the master, and takes writes. */
  async otherThan(old: RedisServer): Promise<void> {
    await until("a new master takes over", async () => {
      const master = await this.master()
      return master !== old && (await master.cli("role")).startsWith("master")
    }, 30_000)
  }

  async stop(): Promise<void> {
    await Promise.all(this.#sentinels.map(async (sentinel) => {
      await sentinel.stop()
      await sentinel.remove()
    }))
    await Promise.all(this.servers.map((server) => server.stop()))
  }
}
