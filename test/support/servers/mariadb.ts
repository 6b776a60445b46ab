/** A real MariaDB on a free port of loopback. */
import { chmod } from "node:fs/promises"
import { join } from "node:path"
import { until } from "../machine.ts"
import { freePort, install, Program, run, temporaryDirectory } from "./processes.ts"

export class MariaDbServer {
  readonly port: number
  readonly #directory: string
  #program: Program

  private constructor(port: number, directory: string, program: Program) {
    this.port = port
    this.#directory = directory
    this.#program = program
  }

  static async start(): Promise<MariaDbServer> {
    await install(["mariadbd", "mariadb", "mariadb-install-db"], ["mariadb-server", "mariadb-client"])
    const directory = await temporaryDirectory()
    const user = process.getuid?.() === 0 ? ["--user=root"] : []
    await run("mariadb-install-db", [
      "--no-defaults",
      `--datadir=${join(directory, "data")}`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db",
      ...user
    ])
    await chmod(directory, 0o755)
    // Another process may have taken the free port.
    for (let tries = 0;; tries++) {
      const port = await freePort()
      const server = new MariaDbServer(port, directory, await MariaDbServer.#begin(port, directory, user))
      try {
        await server.#answers()
        await server.sql(
          "CREATE DATABASE breaker; CREATE USER breaker@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO breaker@'127.0.0.1' WITH GRANT OPTION"
        )
        return server
      } catch (error) {
        const output = await server.#program.output()
        await server.#program.stop()
        if (tries < 3) continue
        await server.stop()
        throw new Error(`mariadbd does not start: ${output}`, { cause: error })
      }
    }
  }

  static #begin(port: number, directory: string, user: ReadonlyArray<string>): Promise<Program> {
    return Program.start(directory, "mariadbd", [
      "--no-defaults",
      `--datadir=${join(directory, "data")}`,
      `--socket=${join(directory, "socket")}`,
      `--pid-file=${join(directory, "pid")}`,
      `--port=${port}`,
      "--bind-address=127.0.0.1",
      "--innodb-flush-log-at-trx-commit=0",
      "--max-connections=300",
      ...user
    ])
  }

  #answers(): Promise<void> {
    return until(
      "mariadbd answers",
      async () => (await this.sql("SELECT 1")).includes("1"),
      () => this.#program.isRunning
    )
  }

  get url(): string {
    return `mysql://breaker:secret@127.0.0.1:${this.port}/breaker`
  }

  /** Runs statements as the administrator, and returns the output. */
  async sql(statements: string): Promise<string> {
    const socket = `--socket=${join(this.#directory, "socket")}`
    const { stdout } = await run("mariadb", ["--no-defaults", socket, "--user=root", "--batch", "-e", statements])
    return stdout
  }

  async restart(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.#program.stop(signal)
    const user = process.getuid?.() === 0 ? ["--user=root"] : []
    this.#program = await MariaDbServer.#begin(this.port, this.#directory, user)
    await this.#answers()
  }

  async stop(): Promise<void> {
    await this.#program.stop()
    await this.#program.remove()
  }
}
