/** A real PgBouncer on a free port of loopback, before a PostgreSQL. */
import { chmod, writeFile } from "node:fs/promises"
import { createConnection } from "node:net"
import { join } from "node:path"
import { until } from "../machine.ts"
import { freePort, install, Program, temporaryDirectory } from "./processes.ts"

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ host: "127.0.0.1", port })
    socket.on("connect", () => socket.destroy())
    socket.on("error", () => resolve(false))
    socket.on("close", (hadError) => resolve(!hadError))
  })

export class PgBouncer {
  readonly port: number
  readonly #program: Program

  private constructor(port: number, program: Program) {
    this.port = port
    this.#program = program
  }

  /** `settings` are lines of the section `[pgbouncer]`. */
  static async start(
    database: string,
    mode: "session" | "transaction",
    settings: ReadonlyArray<string> = []
  ): Promise<PgBouncer> {
    await install(["pgbouncer"], ["pgbouncer"])
    const directory = await temporaryDirectory()
    const { hostname, password, pathname, port: databasePort, username } = new URL(database)
    const port = await freePort()
    const name = pathname.slice(1)
    const file = join(directory, "pgbouncer.ini")
    await writeFile(
      file,
      [
        "[databases]",
        `${name} = host=${hostname} port=${databasePort} dbname=${name} user=${username} password=${password}`,
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        `listen_port = ${port}`,
        "unix_socket_dir =",
        "auth_type = any",
        `pool_mode = ${mode}`,
        "default_pool_size = 5",
        ...settings,
        ""
      ].join("\n")
    )
    await chmod(directory, 0o755)
    // It refuses to run as root.
    const user = process.getuid?.() === 0 ? ["--user", "nobody"] : []
    const program = await Program.start(directory, "pgbouncer", [...user, file])
    await until("PgBouncer listens", () => answers(port), () => program.isRunning).catch(async (error) => {
      throw new Error(`pgbouncer does not start: ${await program.output()}`, { cause: error })
    })
    return new PgBouncer(port, program)
  }

  /** The URL of a database behind it. */
  urlOf(database: string): string {
    const url = new URL(database)
    url.port = String(this.port)
    return url.href
  }

  async stop(): Promise<void> {
    await this.#program.stop("SIGINT")
    await this.#program.remove()
  }
}
