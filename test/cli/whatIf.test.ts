/** Recordings, and their replay through the breaker under other policies. */
import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import { readPolicy } from "../../src/cli/internal/PolicyFile.ts"
import { parseRecording, recordingFrom, spansMillis } from "../../src/cli/internal/Recording.ts"
import { type Call, replay } from "../../src/cli/internal/Replay.ts"
import { svgOf } from "../../src/cli/internal/Timeline.ts"
import { circuitOf } from "../../src/conformance/Law.ts"
import { noCounts, noDelta, noLifetimeCounts } from "../../src/core/Delta.ts"
import { Breaker, Trip } from "../../src/index.ts"
import { memory } from "../support/storages.ts"
import { cli } from "../support/terminal.ts"
import { make } from "../utils.ts"

const START = Date.parse("2026-01-31T12:00:00.000Z")

/** A call a second: `f` fails, `s` succeeds, `i` is ignored. */
const callsOf = (outcomes: string, durationMillis = 0): ReadonlyArray<Call> =>
  Array.from(outcomes, (letter, i) => ({
    startedAt: START + i * 1000,
    endedAt: START + i * 1000 + durationMillis,
    outcome: letter === "f" ? "failure" : letter === "i" ? "ignored" : "success",
    isSlow: false
  }))

const replayed = (data: Breaker.Data, calls: ReadonlyArray<Call>) =>
  replay({ name: "p", data }, calls, calls.at(-1)!.endedAt)

const directory = await mkdtemp(join(tmpdir(), "effect-breaker-what-if-"))
afterAll(() => rm(directory, { recursive: true, force: true }))

const fileOf = async (name: string, text: string): Promise<string> => {
  const file = join(directory, name)
  await writeFile(file, text)
  return file
}

describe("a replay", () => {
  it.effect("tells when the circuit would have opened, for how long, and what that would have spared", () =>
    Effect.gen(function*() {
      // Opens with the third failure at 4 s, probes at 14 s and fails, probes at 24 s and closes.
      const calls = callsOf("ssfff" + "f".repeat(12) + "s".repeat(13))
      const { openings, ...rest } = yield* replayed({ trip: Trip.consecutiveFailures(3), openFor: "10 seconds" }, calls)
      assert.deepStrictEqual(openings.map(({ at, closedAt }) => [(at - START) / 1000, (closedAt! - START) / 1000]), [
        [4, 24],
        [14, 24]
      ])
      assert.deepInclude(rest, {
        calls: 30,
        rejected: 18,
        failuresSpared: 11,
        successesRejected: 7,
        failures: 4,
        notClosedMillis: 20_000
      })
    }))

  it.effect("is what a breaker does with the same calls", () =>
    Effect.gen(function*() {
      const policy = {
        trip: Trip.any(
          Trip.consecutiveFailures(4),
          Trip.failureRate({ threshold: 0.5, within: "20 seconds", minimumCalls: 6 })
        ),
        openFor: "7 seconds",
        halfOpen: { successes: 2 }
      } as const
      for (
        const outcomes of [
          "sfsfsffsssfffffffssssffsfsfssfffss",
          "ffffssssiiffffsssffffsfsfsfsfs",
          "sssssfififfiffssfsfsfsfsfsfss"
        ]
      ) {
        yield* Effect.gen(function*() {
          const breaker = yield* make(`real ${outcomes}`, policy)
          let rejected = 0
          for (const letter of outcomes) {
            const call = letter === "f" ? Effect.fail("down") : letter === "i" ? Effect.interrupt : Effect.void
            const exit = yield* Effect.result(Effect.sandbox(breaker.wrap(call)))
            if (Result.isFailure(exit) && JSON.stringify(exit.failure).includes("BreakerOpenError")) rejected++
            yield* TestClock.adjust("1 second")
          }
          const replay = yield* replayed(policy, callsOf(outcomes))
          const { statistics } = yield* breaker.snapshot
          assert.deepStrictEqual(
            [replay.rejected, replay.openings.length],
            [rejected, statistics.timesOpened],
            outcomes
          )
        }).pipe(Effect.scoped)
      }
    }))

  it.effect("cuts calls short at the policy's timeout, and counts them as slow by their duration", () =>
    Effect.gen(function*() {
      const calls = callsOf("ssssss", 900)
      const cut = yield* replayed({ trip: Trip.consecutiveFailures(3), timeout: "500 millis" }, calls)
      assert.deepInclude(cut, { failures: 3, rejected: 3, successesRejected: 3 })
      const slow = yield* replayed({
        trip: Trip.slowCallRate({ slowerThan: "800 millis", threshold: 1, within: "1 minute", minimumCalls: 4 })
      }, calls)
      assert.deepInclude(slow, { failures: 0, rejected: 2 })
      const counted = callsOf("ssssss").map((call) => ({ ...call, isSlow: true }))
      assert.strictEqual(
        (yield* replayed({
          trip: Trip.slowCallRate({ slowerThan: "800 millis", threshold: 1, within: "1 minute", minimumCalls: 4 })
        }, counted)).rejected,
        2
      )
    }))

  it.effect("has as many calls under way as were", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* replayed({ maxConcurrent: 2 }, callsOf("ssssss", 2500))).rejected, 2)
      assert.strictEqual((yield* replayed({ maxConcurrent: 3 }, callsOf("ssssss", 2500))).rejected, 0)
    }))
})

describe("a recording", () => {
  const parse = (lines: ReadonlyArray<object | string>, wanted?: string) =>
    parseRecording(
      lines.map((line) => typeof line === "string" ? line : JSON.stringify(line)).join("\n"),
      "\"x\"",
      wanted
    )
  const at = (seconds: number) => new Date(START + seconds * 1000).toISOString()

  it.effect("has intervals with any number of calls, and too many calls are refused with their line", () =>
    Effect.gen(function*() {
      const interval = { at: at(0), circuit: "a", over: 10_000 }
      assert.lengthOf((yield* parse([{ ...interval, success: 300_000 }])).calls, 300_000)
      const { text } = yield* Effect.flip(parse([{ ...interval, success: Number.MAX_SAFE_INTEGER }]))
      assert.strictEqual(text, "\"x\", line 1: there are more than 5,000,000 calls until here")
    }))

  it.effect("has single calls, counts of intervals and changes", () =>
    Effect.gen(function*() {
      const { calls, rejected, was } = yield* parse([
        { at: at(0), circuit: "a", outcome: "success", duration: 200 },
        { at: START + 1000, circuit: "a", outcome: "timeout" },
        {
          at: at(11),
          circuit: "a",
          over: 10_000,
          success: 3,
          failure: 2,
          ignored: 1,
          timeout: 1,
          slow: 2,
          rejected: 7
        },
        { at: at(5), circuit: "a", from: "closed", to: "open", reason: "x", actor: null }
      ])
      assert.deepStrictEqual(
        ["success", "failure", "ignored"].map((kind) => calls.filter(({ outcome }) => outcome === kind).length),
        [4, 3, 1]
      )
      assert.strictEqual(calls.filter(({ isSlow }) => isSlow).length, 2)
      assert.deepStrictEqual([calls[0]!.startedAt, calls[0]!.endedAt, rejected], [START - 200, START, 7])
      assert.isTrue(calls.every(({ endedAt }, i) => i === 0 || endedAt >= calls[i - 1]!.endedAt))
      assert.deepStrictEqual(was.map(({ state }) => state), ["Closed", "Open"])
    }))

  it.effect("has the calls between two events of a breaker", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      yield* Effect.gen(function*() {
        const breaker = yield* make("events", { trip: Trip.consecutiveFailures(3) })
        yield* TestClock.adjust("1 hour")
        const fail = Effect.ignore(breaker.wrap(Effect.fail("down")))
        const succeed = breaker.wrap(Effect.void)
        for (const call of [fail, succeed, succeed, succeed, fail, succeed, fail, fail]) {
          yield* call
          yield* TestClock.adjust("1 second")
          const snapshot = yield* breaker.snapshot
          if (call === fail) lines.push(JSON.stringify({ _tag: "Failure", circuit: "events", error: "down", snapshot }))
        }
      }).pipe(Effect.scoped)
      const { calls } = yield* parse(lines)
      assert.deepStrictEqual(
        ["success", "failure"].map((kind) => calls.filter(({ outcome }) => outcome === kind).length),
        [4, 4]
      )
    }))

  it.effect("says which line makes no sense, and which circuits it has", () =>
    Effect.gen(function*() {
      const textOf = (lines: ReadonlyArray<object | string>, wanted?: string) =>
        Effect.map(Effect.flip(parse(lines, wanted)), ({ text }) => text!)
      const good = { at: at(0), circuit: "a", outcome: "success" }
      assert.include(yield* textOf([good, "{"]), "line 2: it is no JSON")
      assert.include(yield* textOf(["[1]"]), "line 1: it is no JSON object")
      assert.include(yield* textOf([{ ...good, at: "soon" }]), "\"at\" must be a time")
      assert.include(yield* textOf([{ ...good, outcome: "fine" }]), "\"outcome\" must be one of success")
      assert.include(yield* textOf([{ at: at(0), circuit: "a" }]), "neither")
      assert.include(yield* textOf([good, { ...good, circuit: "b" }]), "calls of 2 circuits: name one of \"a\", \"b\"")
      assert.include(yield* textOf([good], "c"), "no calls of \"c\"")
    }))

  it.effect("of a storage has the evidence of each opening, and the window", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const { open, read, report } = circuitOf(storage, "a")
      yield* report({
        ...noDelta,
        buckets: [{ ...noCounts, age: 0, success: 6, failure: 4, slow: 1 }, { ...noCounts, age: 20_000, success: 5 }],
        lifetime: { ...noLifetimeCounts, success: 11, failure: 4 }
      })
      const [synced] = yield* storage.sync([{
        circuit: "a",
        instance: "x",
        sequence: 9,
        generation: 0,
        delta: noDelta,
        withins: spansMillis
      }])
      const { snapshot } = Result.getOrThrow(synced!.result)
      const window = recordingFrom("a", snapshot, [], START)
      assert.deepStrictEqual(
        ["success", "failure"].map((kind) => window.calls.filter(({ outcome }) => outcome === kind).length),
        [11, 4]
      )
      assert.isAtMost(window.calls[0]!.startedAt, START - 15_000)
      yield* open()
      const after = recordingFrom(
        "a",
        yield* read,
        yield* storage.history("a"),
        (yield* storage.history("a"))[0]!.at + 60_000
      )
      assert.strictEqual(after.calls.filter(({ outcome }) => outcome === "failure").length, 5)
      assert.deepStrictEqual(after.was.map(({ state }) => state), ["Closed", "Open"])
    }))
})

describe("what-if", () => {
  const target = { url: "sqlite:unused" }
  const recording = callsOf("ssfff" + "f".repeat(12) + "s".repeat(13))
    .map(({ endedAt, outcome }) => JSON.stringify({ at: endedAt, circuit: "a", outcome })).join("\n")

  it("shows several policies side by side, as text, JSON and SVG, without a storage", async () => {
    const from = await fileOf("calls.ndjson", recording)
    const eager = await fileOf("eager.yaml", "trip:\n  _tag: ConsecutiveFailures\n  failures: 3\nopenFor: 10 seconds\n")
    const calm = await fileOf("calm.json", JSON.stringify({ trip: { _tag: "ConsecutiveFailures", failures: 100 } }))
    const toml = await fileOf(
      "third.toml",
      "openFor = \"5 seconds\"\n[trip]\n_tag = \"ConsecutiveFailures\"\nfailures = 5\n"
    )
    const svg = join(directory, "timeline.svg")
    const args = ["what-if", "--from", from, "--policy", eager, "--policy", calm, "--policy", toml, "--svg", svg]
    const { code, stderr, stdout } = await cli(target, args)
    assert.strictEqual(code, 0, stderr)
    assert.match(stdout, /^eager +2× +20s +18 of 30 +11 +7/m)
    assert.match(stdout, /^calm +never +0 of 30/m)
    assert.match(stdout, /^third +3×/m)
    assert.match(stdout, /^eager +·+█+·+/m)
    const image = await readFile(svg, "utf8")
    assert.match(image, /^<svg [\s\S]*eager[\s\S]*opened 2×, 18 calls rejected, 11 failures spared[\s\S]*<\/svg>\n$/)
    const json = await cli(target, [...args.slice(0, -2), "--json"])
    const { policies } = JSON.parse(json.stdout) as { readonly policies: ReadonlyArray<Record<string, unknown>> }
    assert.deepInclude(policies[0], {
      policy: "eager",
      rejected: 18,
      failures_spared: 11,
      successes_rejected: 7,
      not_closed: 20_000
    })
  })

  describe("with a configuration file", () => {
    const policiesOf = async (circuit: string, ...files: ReadonlyArray<readonly [name: string, text: string]>) => {
      const read = await Promise.all(files.map(async ([name, text]) => readPolicy(await fileOf(name, text), circuit)))
      return Effect.runPromise(Effect.provide(Effect.all(read), NodeFileSystem.layer))
    }

    it("takes the circuit's service over the defaults, in each format, where a bare number is seconds", async () => {
      const policies = await policiesOf(
        "payments",
        [
          "one.yaml",
          "circuit_breaker:\n  defaults: { open_for: 30, timeout: 2 }\n" +
          "  services:\n    payments: { failure_threshold: 3, recovery_timeout: 10 }\n"
        ],
        [
          "two.toml",
          "[circuit_breaker.defaults]\nopen_for = 30\ntimeout = 2\n[circuit_breaker.services.payments]\nfailure_threshold = 3\nopen_for = 10\n"
        ],
        [
          "three.json",
          JSON.stringify({
            redis: {},
            circuit_breaker: {
              defaults: { timeout: 2, open_for: 30, failure_threshold: 9, idle_time_to_live: 60 },
              services: { payments: { failure_threshold: 3, open_for: "10 seconds", capacity: 10 } }
            }
          })
        ]
      )
      const data = { trip: Trip.consecutiveFailures(3), openFor: "10 seconds", timeout: "2 seconds" } as const
      assert.deepStrictEqual(policies.map(({ name }) => name), ["one (payments)", "two (payments)", "three (payments)"])
      assert.deepStrictEqual(
        policies.map(({ data }) => Breaker.fingerprint(data)),
        policies.map(() => Breaker.fingerprint(data))
      )
      for (const { data } of policies) assert.sameMembers(Object.keys(data), ["trip", "openFor", "timeout"])
    })

    it("finds the service of a keyed breaker's circuit, and else has the defaults", async () => {
      const text = "circuit_breaker: { defaults: { open_for: 7 }, services: { http/eu: { failure_threshold: 2 } } }"
      const nameFor = async (circuit: string) => (await policiesOf(circuit, ["keyed.yaml", text]))[0]!.name
      assert.strictEqual(await nameFor("http~1eu/example.org"), "keyed (http/eu)")
      assert.strictEqual(await nameFor("http~1eu~overflow"), "keyed (http/eu)")
      assert.strictEqual(await nameFor("http/eu"), "keyed (http/eu)")
      assert.strictEqual(await nameFor("http"), "keyed (defaults)")
    })

    it("says what is wrong with it", async () => {
      const wrong = async (document: object) => {
        const file = await fileOf("wrong.json", JSON.stringify({ circuit_breaker: document }))
        const { code, text } = await Effect.runPromise(
          Effect.provide(Effect.flip(readPolicy(file, "payments")), NodeFileSystem.layer)
        )
        assert.strictEqual(code, 2)
        return text!
      }
      assert.match(
        await wrong({ services: { a: { openFor: 1 }, b: { open_for: -1 } } }),
        /wrong\.json" is no configuration: .*services\.b\.open_for must be .*\n.*services\.a\.openFor must be left out.*did you mean open_for/
      )
      assert.match(
        await wrong({ services: { a: {}, "b\u001b": {} } }),
        /has no policy for "payments": it has no defaults, and its services are "a", "b\\u001b"$/
      )
      assert.match(await wrong({}), /has no policy for "payments": it has no defaults, and no services$/)
      assert.match(
        await wrong({
          defaults: { max_open_for: 10 },
          services: { payments: { open_for: 20 } }
        }),
        /has no policy for "payments": maxOpenFor must be .*from 20000 ms/
      )
    })

    it("replays its policy beside others", async () => {
      const from = await fileOf("calls.ndjson", recording)
      const config = await fileOf(
        "breakers.yaml",
        "circuit_breaker:\n  services:\n    a: { failure_threshold: 3, open_for: 10 }\n"
      )
      const plain = await fileOf(
        "plain.yaml",
        "trip:\n  _tag: ConsecutiveFailures\n  failures: 3\nopenFor: 10 seconds\n"
      )
      const { code, stderr, stdout } = await cli(target, [
        "what-if",
        "--from",
        from,
        "--policy",
        config,
        "--policy",
        plain
      ])
      assert.strictEqual(code, 0, stderr)
      assert.match(stdout, /^breakers \(a\) +2× +20s +18 of 30 +11 +7/m)
      assert.match(stdout, /^plain +2× +20s +18 of 30 +11 +7/m)
    })
  })

  it("says what is wrong with a policy or a recording, and does nothing", async () => {
    const from = await fileOf("calls.ndjson", recording)
    const bad = await fileOf("bad.json", JSON.stringify({ trip: { _tag: "ConsecutiveFailures", failures: 0 } }))
    const wrong = await cli(target, ["what-if", "--from", from, "--policy", bad])
    assert.strictEqual(wrong.code, 2)
    assert.match(wrong.stderr, /bad.json" is no policy: .*failures must be/)
    const missing = await cli(target, ["what-if", "--from", join(directory, "nowhere"), "--policy", bad])
    assert.strictEqual(missing.code, 2)
    assert.strictEqual((await cli(target, ["what-if", "--from", from])).code, 2)
  })

  it("an image escapes what it shows", () => {
    const svg = svgOf("<script>\u001b[2J", [{ label: "a&b\"", segments: [], note: "<b>" }], START, START + 1)
    assert.notInclude(svg, "<script>")
    assert.notInclude(svg, "<b>")
    assert.notInclude(svg, "\u001b")
    assert.include(svg, "a&amp;b&quot;")
  })
})
