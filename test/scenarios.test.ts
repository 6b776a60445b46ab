import { assert, describe, it } from "@effect/vitest"
import { globSync, readFileSync, writeFileSync } from "node:fs"
import { check, parse, print, run } from "./scenarios/scenario.ts"
import { Stage } from "./scenarios/stage.ts"

const folder = new URL("scenarios/", import.meta.url)
const files = globSync("*.txt", { cwd: folder }).sort()

const titleOf = (text: string): string => parse(text).head[0]!.slice("# ".length)

const mustUpdate = process.env["UPDATE"] === "1"

describe("scenarios", () => {
  for (const file of files) {
    const url = new URL(file, folder)
    const text = readFileSync(url, "utf8")
    it(`${titleOf(text)} (${file})`, () => {
      if (mustUpdate) writeFileSync(url, print(text, run(text)))
      else check(file, text)
    })
  }
})

describe("test/scenarios/README.md", () => {
  it("test/scenarios/README.md lists every scenario with its title", () => {
    const listed = readFileSync(new URL("README.md", folder), "utf8").matchAll(/^\| \[(.+?)\]\(.+?\) +\| (.+?) +\|$/gm)
    assert.deepStrictEqual(
      [...listed].map(([, file, title]) => `${file}: ${title}`),
      files.map((file) => `${file}: ${titleOf(readFileSync(new URL(file, folder), "utf8"))}`)
    )
  })
})

describe("the runner of scenarios", () => {
  const scenario = (expected: string) =>
    `# One.
# Two.
# Three.

# A comment.
fleet a trip=consecutive(2)
call a succeed
advance 10ms
----
${expected}
`
  const right = "   0.002 a       <- read: Closed at 0\n   0.002 a       call succeeded"

  it("a scenario passes when it expects what is printed, however often it runs", () => {
    for (let i = 0; i < 3; i++) check("example.txt", scenario(right))
    assert.strictEqual(print(scenario("anything"), run(scenario("anything"))), scenario(right))
  })

  it("a scenario with a wrong expectation fails, and says where and how it differs", () => {
    const wrong = scenario(right.replace("call succeeded", "call failed"))
    assert.throws(
      () => check("example.txt", wrong),
      `example.txt:5
# A comment.
fleet a trip=consecutive(2)
call a succeed
advance 10ms
----
     0.002 a       <- read: Closed at 0
-    0.002 a       call failed
+    0.002 a       call succeeded

- expected, + printed. If what is printed is right, UPDATE=1 writes it into the file.`
    )
  })

  it("a scenario fails when lines are missing or too many", () => {
    assert.throws(() => check("example.txt", scenario("   0.002 a       call succeeded")), "+    0.002 a       <- read")
    assert.throws(() => check("example.txt", scenario(`${right}\n   0.003 a       more`)), "-    0.003 a       more")
  })

  it("a scenario with a command that cannot be performed names its line", () => {
    const attempt = (command: string) => () => run(scenario(right).replace("call a succeed", command))
    assert.throws(attempt("dance a"), "line 7, dance a: Error: no command is called \"dance\"")
    assert.throws(attempt("call b succeed"), "no process is called \"b\"")
    assert.throws(attempt("call a succeed often=3"), "unknown: often")
    assert.throws(attempt("advance 3 days"), "is no duration")
  })

  it("a scenario without three opening lines, or a block without a rule, is refused", () => {
    assert.throws(() => parse("# One.\n\nfleet a\n----\n"), "at least three comment lines")
    assert.throws(() => parse("# One.\n# Two.\n# Three.\n\nfleet a\n"), "line 5: a block has no \"----\"")
  })

  it("a scenario that breaks an invariant of the protocol fails, whatever it expects", () => {
    // The storage counts a failure that never happened, which no breaker reports.
    const stage = new Stage()
    stage.perform("fleet a")
    stage.perform("call a fail")
    stage.perform("advance 1s")
    const { server } = stage.fleet
    const { history, record } = server.documents.get("payments")!
    const lifetime = { ...record.lifetime, failure: record.lifetime.failure + 1 }
    server.documents = new Map([["payments", { history, record: { ...record, lifetime } }]])
    stage.perform("advance 1s")
    assert.throws(() => stage.take(), "an invariant of the protocol is broken")
  })
})
