/**
 * Runs every step of `npm test`, even after one fails. At the end it prints the tests that failed, with the first lines
 * of their errors, and a count. A Vitest step counts each of its tests. Any other step counts as one.
 */
import { spawn } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { stripVTControlCharacters } from "node:util"

interface Count {
  readonly passed: number
  readonly failed: number
}

/** The parts that are read of the report which Vitest's `json` reporter writes. */
interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: ReadonlyArray<{
      readonly status: string
      readonly fullName: string
      readonly failureMessages: ReadonlyArray<string>
    }>
  }>
}

const linesOfAnError = 4

const reports = await mkdtemp(join(tmpdir(), "effect-breaker-test-"))

const npmRun = (script: string, ...options: ReadonlyArray<string>): Promise<boolean> =>
  new Promise((resolve) => {
    console.log(`\n=== ${script}`)
    const child = spawn("npm", ["run", "--silent", script, "--", ...options], { stdio: "inherit" })
    child.on("error", () => resolve(false))
    child.on("close", (code) => resolve(code === 0))
  })

const step = async (script: string): Promise<Count> =>
  await npmRun(script) ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }

const failures: Array<string> = []

const tellFailure = (file: string, test: string, error: string) => {
  const lines = stripVTControlCharacters(error).trim().split("\n").slice(0, linesOfAnError)
  failures.push(
    [`FAILED ${relative(".", file)} > ${test}`, ...lines.map((line) => `  ${line.slice(0, 200)}`)].join("\n")
  )
}

const tellFailuresOf = (report: Report) => {
  for (const file of report.testResults) {
    const failed = file.assertionResults.filter((test) => test.status === "failed")
    for (const test of failed) tellFailure(file.name, test.fullName, test.failureMessages.join("\n"))
    if (file.status === "failed" && failed.length === 0) tellFailure(file.name, "(the file)", file.message)
  }
}

/**
 * A run that fails without a failed test (no tests, a suite that does not load, an unhandled rejection) counts as one
 * failure.
 */
const tests = async (script: string): Promise<Count> => {
  const report = join(reports, `${script.replace(":", "-")}.json`)
  const ok = await npmRun(script, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`)
  const counted: Report | undefined = await readFile(report, "utf8").then(JSON.parse, () => undefined)
  if (counted !== undefined) tellFailuresOf(counted)
  const passed = counted?.numPassedTests ?? 0
  const failed = counted?.numFailedTests ?? 0
  return { passed, failed: failed === 0 && (!ok || passed === 0) ? 1 : failed }
}

const steps: ReadonlyArray<readonly [script: string, run: (script: string) => Promise<Count>]> = [
  ["check:types", step],
  ["lint", step],
  ["check:format", step],
  ["check:unused", step],
  ["test:unit", tests],
  ["test:invariants", tests],
  ["test:servers", tests],
  ["test:packaging", tests]
]

const summary: Array<string> = []
let total: Count = { passed: 0, failed: 0 }
for (const [script, run] of steps) {
  const start = performance.now()
  const { passed, failed } = await run(script)
  total = { passed: total.passed + passed, failed: total.failed + failed }
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  summary.push(
    `${failed === 0 ? "ok  " : "FAIL"} ${script.padEnd(16)} ${passed} passed, ${failed} failed, ${seconds} s`
  )
}
await rm(reports, { recursive: true, force: true })

if (failures.length > 0) console.log(`\n${failures.join("\n\n")}`)
console.log(`\n${summary.join("\n")}\n\n${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 ? 0 : 1
