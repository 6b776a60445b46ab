/**
 * Writes where the package comes from into package.json, before it is published: `repository`, `homepage` and `bugs`, of the
 * repository that the workflow runs in. It refuses to without one, because npm compares the repository with the one that the
 * publication is signed for.
 */
import { readFileSync, writeFileSync } from "node:fs"

export interface Origin {
  readonly repository: { readonly type: "git"; readonly url: string }
  readonly homepage: string
  readonly bugs: { readonly url: string }
}

/** Reads the variables that GitHub Actions sets. Throws an error that names the variable which is missing or wrong. */
export const originOf = (environment: Readonly<Record<string, string | undefined>>): Origin => {
  const { GITHUB_REPOSITORY: repository = "", GITHUB_SERVER_URL: server = "" } = environment
  if (!/^[\w.-]+\/[\w.-]+$/.test(repository)) throw refusal("GITHUB_REPOSITORY", repository, "<owner>/<name>")
  if (!/^https:\/\/[\w.-]+(?::\d+)?$/.test(server)) throw refusal("GITHUB_SERVER_URL", server, "https://<host>")
  const address = `${server}/${repository}`
  return {
    repository: { type: "git", url: `git+${address}.git` },
    homepage: `${address}#readme`,
    bugs: { url: `${address}/issues` }
  }
}

const refusal = (variable: string, value: string, allowed: string): Error =>
  new Error(
    `Nothing is published: ${variable} must be ${allowed}, and is ${
      JSON.stringify(value.replace(/\/\/[^/]*@/, "//***@"))
    }. Publish by the workflow release.yml, which runs where this variable is set.`
  )

if (import.meta.main) {
  try {
    const manifest = { ...JSON.parse(readFileSync("package.json", "utf8")), ...originOf(process.env) }
    writeFileSync("package.json", `${JSON.stringify(manifest, undefined, 2)}\n`)
  } catch (error) {
    console.error((error as Error).message)
    process.exitCode = 1
  }
}
