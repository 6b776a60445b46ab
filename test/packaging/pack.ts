/** Packs the package once, as `npm publish` would, and unpacks it for all packaging tests. */
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import type { TestProject } from "vitest/node"

const exec = promisify(execFile)

declare module "vitest" {
  interface ProvidedContext {
    readonly tarball: string
    /** The unpacked tarball. */
    readonly packed: string
  }
}

export default async (project: TestProject) => {
  const directory = await mkdtemp(join(tmpdir(), "effect-breaker-pack-"))
  await exec("npm", ["pack", "--pack-destination", directory])
  const { name, version } = JSON.parse(await readFile("package.json", "utf8"))
  const tarball = join(directory, `${name}-${version}.tgz`)
  await exec("tar", ["-xzf", tarball, "-C", directory])
  project.provide("tarball", tarball)
  project.provide("packed", join(directory, "package"))
  return () => rm(directory, { recursive: true, force: true })
}
