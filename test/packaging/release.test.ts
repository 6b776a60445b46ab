import { assert, describe, it } from "@effect/vitest"
import { execFileSync, spawnSync } from "node:child_process"
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { originOf } from "../../scripts/release.ts"

const actions = { GITHUB_REPOSITORY: "someone/breakers", GITHUB_SERVER_URL: "https://git.example" }

describe("the release", () => {
  it("knows where the package comes from by the repository that the workflow runs in", () =>
    assert.deepEqual(originOf(actions), {
      repository: { type: "git", url: "git+https://git.example/someone/breakers.git" },
      homepage: "https://git.example/someone/breakers#readme",
      bugs: { url: "https://git.example/someone/breakers/issues" }
    }))

  for (
    const [variable, value] of [
      ["GITHUB_REPOSITORY", undefined],
      ["GITHUB_REPOSITORY", "breakers"],
      ["GITHUB_REPOSITORY", "someone/breakers\nhomepage"],
      ["GITHUB_SERVER_URL", undefined],
      ["GITHUB_SERVER_URL", "http://git.example"],
      ["GITHUB_SERVER_URL", "https://user:secret@git.example"]
    ] as const
  ) {
    it(`refuses ${variable}=${JSON.stringify(value)}`, () =>
      assert.throws(() => originOf({ ...actions, [variable]: value }), `Nothing is published: ${variable} must be`))
  }

  it("shows no password of an address that it refuses", () =>
    assert.throws(
      () => originOf({ ...actions, GITHUB_SERVER_URL: "https://user:secret@git.example" }),
      /is "https:\/\/\*\*\*@git\.example"/
    ))

  it("writes it into package.json, and nothing where it refuses", () => {
    const folder = mkdtempSync(join(tmpdir(), "effect-breaker-release-"))
    try {
      const before = readFileSync("package.json", "utf8")
      copyFileSync("package.json", join(folder, "package.json"))
      const script = resolve("scripts/release.ts")
      const outside = spawnSync(process.execPath, [script], { cwd: folder, env: {}, encoding: "utf8" })
      assert.strictEqual(outside.status, 1)
      assert.include(outside.stderr, "GITHUB_REPOSITORY")
      assert.strictEqual(readFileSync(join(folder, "package.json"), "utf8"), before)

      execFileSync(process.execPath, [script], { cwd: folder, env: actions })
      const after = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
      assert.deepEqual(after, { ...JSON.parse(before), ...originOf(actions) })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it("has the same version in package.json, the lock file and the changelog", () => {
    const [manifest, lock] = ["package.json", "package-lock.json"].map((file) => JSON.parse(readFileSync(file, "utf8")))
    assert.deepEqual([lock.version, lock.packages[""].version], [manifest.version, manifest.version])
    assert.include(readFileSync("CHANGELOG.md", "utf8"), `\n## ${manifest.version}\n`)
  })

  it("is no part of the repository: it invents no address", () => {
    const manifest = JSON.parse(readFileSync("package.json", "utf8"))
    for (const field of ["repository", "homepage", "bugs"]) assert.notProperty(manifest, field)
  })

  it("is published only by way of this script", () => {
    const { scripts } = JSON.parse(readFileSync("package.json", "utf8"))
    assert.strictEqual(scripts.release, "node scripts/release.ts && changeset publish")
    assert.include(readFileSync(".github/workflows/release.yml", "utf8"), "publish: npm run release")
  })
})
