/**
 * Real Redis servers on free ports of loopback: a single server, a Cluster of six, and a master with a replica under
 * three Sentinels.
 */
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { until } from "../machine.ts"
import { freePort, install, Program, run, temporaryDirectory } from "./processes.ts"

export const installRedis = (): Promise<void> =>
  install(["redis-server", "redis-sentinel", "redis-cli"], ["redis-server", "redis-sentinel", "redis-tools"])

/** Runs `redis-cli`, and returns its output. */
export const cli = async (port: number, ...command: ReadonlyArray<string>): Promise<string> => {
  const { stdout } = await run("redis-cli", ["-h", "127.0.0.1", "-p", String(port), ...command])
  return stdout.trimEnd()
}

/** A key and a certificate. A server that has them accepts only TLS. */
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

  /** Starts a server that stores nothing on disk, with these further arguments. */
  static start(...more: ReadonlyArray<string>): Promise<RedisServer> {
    return RedisServer.#start((port) => ["--port", port, ...more], [])
  }

  static startTls({ cert, key }: Certificate, more: ReadonlyArray<string> = []): Promise<RedisServer> {
    const files = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"]
    return RedisServer.#start((port) => ["--port", "0", "--tls-port", port, ...files, ...more], ["--tls", "--insecure"])
  }

  static async #start(
    argsOf: (port: string) => ReadonlyArray<string>,
    tls: ReadonlyArray<string>
  ): Promise<RedisServer> {
    await installRedis()
    // Another process may have taken the free port.
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
    return until(
      "redis-server answers",
      async () => /PONG|NOAUTH/.test(await this.cli("ping")),
      () => this.#program.isRunning
    )
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

  /** Waits until the replica has everything that this server has acknowledged. */
  async replicated(): Promise<void> {
    const info = () => this.cli("info", "replication")
    const written = Number(/master_repl_offset:(\d+)/.exec(await info())?.[1])
    await until("the replica has all that its master had", async () => {
      const received = /state=online,offset=(\d+)/.exec(await info())?.[1]
      return received !== undefined && Number(received) >= written
    })
  }

  /** Stops the process, which then reads and answers nothing. Its connections stay open. */
  pause(): void {
    this.#program.signal("SIGSTOP")
  }

  resume(): void {
    this.#program.signal("SIGCONT")
  }

  kill(): Promise<void> {
    return this.#program.stop("SIGKILL")
  }

  /** Starts the server again on the same port. It is empty, because it stores nothing on disk. */
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

/** Far longer than a loaded machine keeps a server from running, so a failover happens only when a test starts it. */
const NEVER_MILLIS = "3600000"

/** A Cluster of three masters with a replica each. */
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
        const bus = ["--cluster-port", String(await freePort())]
        nodes.push(
          await RedisServer.start("--cluster-enabled", "yes", ...bus, "--cluster-node-timeout", NEVER_MILLIS)
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

  async #withRole(role: "master" | "slave"): Promise<ReadonlyArray<RedisServer>> {
    const roles = await Promise.all(this.nodes.map(async (node) => (await node.cli("role")).startsWith(role)))
    return this.nodes.filter((_, i) => roles[i])
  }

  /** The current masters. A command that is meant for the whole Cluster must run on each. */
  masters(): Promise<ReadonlyArray<RedisServer>> {
    return this.#withRole("master")
  }

  /** Kills a master once its replica has all its data. The returned function makes the replica take over. */
  async lose(master: RedisServer): Promise<() => Promise<void>> {
    const replicas = await this.#withRole("slave")
    const masters = await Promise.all(replicas.map(async (replica) => (await replica.cli("role")).split("\n")[2]))
    const replica = replicas[masters.indexOf(String(master.port))]!
    await master.replicated()
    await master.kill()
    return async () => {
      await replica.cli("cluster", "failover", "takeover")
      await until("the replica is a master", async () => (await replica.cli("role")).startsWith("master"))
    }
  }

  /**
   * Begins to move the slot of a key to another master, as resharding does. Until the move ends, the two masters
   * redirect clients to each other.
   */
  async beginMove(key: string): Promise<SlotMove> {
    const slot = await this.cli("cluster", "keyslot", key)
    const masters = await this.masters()
    const ids = await Promise.all(masters.map((master) => master.cli("cluster", "myid")))
    const counts = await Promise.all(masters.map((master) => master.cli("cluster", "countkeysinslot", slot)))
    const from = counts.findIndex((count) => count !== "0")
    const to = (from + 1) % masters.length
    const [source, target] = [masters[from]!, masters[to]!]
    await target.cli("cluster", "setslot", slot, "importing", ids[from]!)
    await source.cli("cluster", "setslot", slot, "migrating", ids[to]!)
    return {
      moveKeys: async (most = 100) => {
        const keys = await source.cli("cluster", "getkeysinslot", slot, String(most))
        for (const moved of keys.split("\n").filter((moved) => moved !== "")) {
          await source.cli("migrate", "127.0.0.1", String(target.port), moved, "0", "60000")
        }
      },
      end: async () => {
        for (const master of [target, source, ...masters]) {
          await master.cli("cluster", "setslot", slot, "node", ids[to]!)
        }
      }
    }
  }

  /** Runs a command, and follows the Cluster's redirections. */
  async cli(...command: ReadonlyArray<string>): Promise<string> {
    return cli(this.nodes[0]!.port, "-c", ...command)
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }
}

/** A slot that is moving from one master to another. */
export interface SlotMove {
  /** Moves up to `most` keys of the slot. */
  readonly moveKeys: (most?: number) => Promise<void>
  /** Makes the target the owner of the slot on all masters. */
  readonly end: () => Promise<void>
}

const sentinelConfig = (port: number, directory: string, master: number): string =>
  [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${directory}`,
    `sentinel monitor mymaster 127.0.0.1 ${master} 2`,
    `sentinel down-after-milliseconds mymaster ${NEVER_MILLIS}`,
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
      const replica = await RedisServer.start("--repl-diskless-sync-delay", "0")
      servers.push(replica)
      await replica.cli("replicaof", "127.0.0.1", String(master.port))
      for (let i = 0; i < 3; i++) {
        const [port, directory] = [await freePort(), await temporaryDirectory()]
        const file = join(directory, "sentinel.conf")
        await writeFile(file, sentinelConfig(port, directory, master.port))
        const sentinel = await Program.start(directory, "redis-sentinel", [file])
        sentinels.push(sentinel)
        ports.push(port)
        await until(
          "the Sentinel answers",
          async () => await cli(port, "ping") === "PONG",
          () => sentinel.isRunning
        )
        // By default Sentinels check and announce only once in several seconds.
        await cli(port, "sentinel", "debug", "info-period", "500", "publish-period", "500")
      }
      await until("the Sentinels know each other and the replica", async () => {
        const views = await Promise.all(ports.map((port) => cli(port, "sentinel", "master", "mymaster")))
        return views.every((view) => {
          const lines = view.split("\n")
          const value = (name: string) => lines[lines.indexOf(name) + 1]
          return value("num-slaves") === "1" && value("num-other-sentinels") === "2"
        })
      })
      await set.healed()
      return set
    } catch (error) {
      await set.stop()
      throw error
    }
  }

  get url(): string {
    return `redis+sentinel://${this.ports.map((port) => `127.0.0.1:${port}`).join(",")}/mymaster`
  }

  async #masterOf(sentinel: number): Promise<RedisServer> {
    const [, port] = (await cli(sentinel, "sentinel", "get-master-addr-by-name", "mymaster")).split("\n")
    return this.servers.find((server) => String(server.port) === port)!
  }

  master(): Promise<RedisServer> {
    return this.#masterOf(this.ports[0]!)
  }

  async cli(...command: ReadonlyArray<string>): Promise<string> {
    return (await this.master()).cli(...command)
  }

  /** Makes the replica take over, whatever state the master is in, and waits until the replica is the master. */
  async failover(): Promise<void> {
    const old = await this.master()
    await until("the replica takes over", async () => {
      const master = await this.master()
      if (master !== old) return (await master.cli("role")).startsWith("master")
      // The Sentinel refuses while a failover is running, or if the replica has not answered for a while.
      await cli(this.ports[0]!, "sentinel", "failover", "mymaster")
      return false
    })
  }

  /** Starts each killed server, and waits until the replica keeps up and all Sentinels know it. */
  async healed(): Promise<void> {
    for (const server of this.servers) {
      if (!server.isRunning) await server.restart()
    }
    await until("the replica keeps up", async () => {
      const master = await this.master()
      const masters = await Promise.all(this.ports.map((port) => this.#masterOf(port)))
      const views = await Promise.all(this.ports.map((port) => cli(port, "sentinel", "replicas", "mymaster")))
      const info = await master.cli("info", "replication")
      return info.includes("role:master") && info.includes("state=online") && masters.every((one) => one === master) &&
        views.every((view) => /\nflags\nslave\n/.test(view) && /\nmaster-link-status\nok\n/.test(view))
    })
  }

  async stop(): Promise<void> {
    await Promise.all(this.#sentinels.map(async (sentinel) => {
      await sentinel.stop()
      await sentinel.remove()
    }))
    await Promise.all(this.servers.map((server) => server.stop()))
  }
}
