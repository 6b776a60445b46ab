/**
 * Runs the packed package on the runtimes and storages that it supports, and prints what works. The runtimes come from npm; Redis,
 * Valkey, MariaDB and PostgreSQL from Debian where it has them, and one PostgreSQL from npm.
 */
import { execFile } from "node:child_process"
import { globSync } from "node:fs"
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { MariaDbServer } from "../test/support/servers/mariadb.ts"
import { PostgresServer } from "../test/support/servers/postgres.ts"
import { freePort, Program } from "../test/support/servers/processes.ts"
import { RedisServer } from "../test/support/servers/redis.ts"

const run = promisify(execFile)
const folder = await mkdtemp(join(tmpdir(), "effect-breaker-support-"))
const project = join(folder, "project")

/** Packages of npm, and how each runs a module of the project. */
const runtimes: ReadonlyArray<
  { readonly name: string; readonly program: string; readonly args?: ReadonlyArray<string> }
> = [
  { name: "node@22", program: "node" },
  { name: "node@24", program: "node" },
  { name: "node@latest", program: "node" },
  { name: "bun", program: "bun" },
  { name: "deno", program: "deno", args: ["run", "--allow-all", "--node-modules-dir=manual"] }
]

interface Place {
  readonly name: string
  readonly environment: Readonly<Record<string, string>>
  readonly stop?: () => Promise<void>
}

const on = (persistence: string, url = {}) => ({ CIRCUIT_BREAKER_PERSISTENCE: persistence, ...url })

const versionOf = async (program: string, ...args: ReadonlyArray<string>): Promise<string> =>
  (await run(program, args)).stdout.match(/\d+(\.\d+)+/)?.[0] ?? "?"

/** A server that may not be there is left out, with the reason. */
const places: ReadonlyArray<() => Promise<Place>> = [
  async () => ({ name: "memory", environment: on("memory") }),
  async () => ({ name: "SQLite", environment: on("sqlite", { SQLITE_FILE: join(folder, "circuits.sqlite") }) }),
  async () => ({ name: "files", environment: on("file", { CIRCUIT_BREAKER_FILE_DIR: join(folder, "circuits") }) }),
  async () => {
    const server = await RedisServer.start()
    const name = `Redis ${await versionOf("redis-server", "--version")}`
    return { name, environment: on("redis", { REDIS_URL: server.url }), stop: () => server.stop() }
  },
  async () => {
    const name = `Valkey ${await versionOf("valkey-server", "--version")}`
    const port = await freePort()
    const server = await Program.start(folder, "valkey-server", ["--port", `${port}`, "--save", ""])
    return { name, environment: on("redis", { REDIS_URL: `redis://127.0.0.1:${port}` }), stop: () => server.stop() }
  },
  async () => {
    const server = await MariaDbServer.start()
    const name = `MariaDB ${await versionOf("mariadbd", "--version")}`
    return { name, environment: on("mysql", { MYSQL_URL: server.url }), stop: () => server.stop() }
  },
  async () => {
    const server = await PostgresServer.start()
    return {
      name: "PostgreSQL of npm",
      environment: on("postgres", { DATABASE_URL: server.url }),
      stop: () => server.stop()
    }
  },
  async () => {
    const [bin] = globSync("/usr/lib/postgresql/*/bin").sort().reverse()
    if (bin === undefined) throw new Error("there is no /usr/lib/postgresql")
    return debianPostgres(bin)
  }
]

/** PostgreSQL refuses to run as root, so root runs it as its own user. */
const debianPostgres = async (bin: string): Promise<Place> => {
  const port = await freePort()
  const home = await mkdtemp(join(tmpdir(), "effect-breaker-postgres-"))
  const as = process.getuid?.() === 0 ? ["runuser", "-u", "postgres", "--"] : ["env"]
  if (as[0] === "runuser") await run("chown", ["postgres", home])
  await chmod(home, 0o755)
  await run(as[0]!, [
    ...as.slice(1),
    join(bin, "initdb"),
    "--pgdata",
    join(home, "data"),
    "--auth=trust",
    "--username=postgres"
  ])
  const args = [join(bin, "postgres"), "-D", join(home, "data"), "-p", `${port}`, "-k", home]
  const server = await Program.start(folder, as[0]!, [...as.slice(1), ...args])
  const ready = () => run(join(bin, "pg_isready"), ["-h", "127.0.0.1", "-p", `${port}`]).then(() => true, () => false)
  while (server.isRunning && !await ready()) await new Promise((done) => setTimeout(done, 100))
  return {
    name: `PostgreSQL ${await versionOf(join(bin, "postgres"), "--version")}`,
    environment: on("postgres", { DATABASE_URL: `postgres://postgres@127.0.0.1:${port}/postgres` }),
    stop: async () => {
      await server.stop("SIGINT")
      await rm(home, { recursive: true, force: true })
    }
  }
}

const install = async (to: string, packages: ReadonlyArray<string>): Promise<void> => {
  await mkdir(to, { recursive: true })
  await writeFile(join(to, "package.json"), JSON.stringify({ type: "module", private: true }))
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "--foreground-scripts", ...packages], {
    cwd: to
  })
}

/** The package as it is published, with all drivers. */
const installPackage = async (): Promise<void> => {
  const { devDependencies, name, peerDependencies, version } = JSON.parse(await readFile("package.json", "utf8"))
  await run("npm", ["pack", "--pack-destination", folder])
  const peers = Object.keys(peerDependencies).map((peer) => `${peer}@${devDependencies[peer]}`)
  await install(project, [join(folder, `${name}-${version}.tgz`), ...peers])
  await copyFile("scripts/support/check.js", join(project, "check.js"))
}

const check = async (file: string, args: ReadonlyArray<string>, { environment }: Place): Promise<string> => {
  const options = { cwd: project, env: { ...process.env, ...environment }, timeout: 120_000 }
  try {
    return (await run(file, [...args, "check.js"], options)).stdout.trim()
  } catch (error) {
    return `no: ${String((error as { readonly stderr?: string }).stderr ?? error).trim().split("\n").at(-1)}`
  }
}

try {
  await installPackage()
  const rows: Array<{ readonly name: string; readonly file: string; readonly args: ReadonlyArray<string> }> = []
  for (const { args = [], name, program } of runtimes) {
    const to = join(folder, name)
    await install(to, [name])
    const file = join(to, "node_modules/.bin", program)
    rows.push({ name: `${program} ${await versionOf(file, "--version")}`, file, args })
  }
  console.log(`| | ${rows.map(({ name }) => name).join(" | ")} |\n|---|${rows.map(() => "---|").join("")}`)
  for (const start of places) {
    let place: Place
    try {
      place = await start()
    } catch (error) {
      console.log(`left out: ${error instanceof Error ? error.message.split("\n")[0] : error}`)
      continue
    }
    const results: Array<string> = []
    for (const { args, file } of rows) results.push(await check(file, args, place))
    console.log(`| ${place.name} | ${results.join(" | ")} |`)
    await place.stop?.()
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
