import { assert, describe, it } from "@effect/vitest"
import { check, type Run, type Sighting } from "./check.ts"
import type { Call, Entry, Request, Seen } from "./log.ts"

const CIRCUIT = "payments"
const closed = { state: "Closed", generation: 0, reachable: true } as const
const open = { state: "Open", generation: 1, reachable: true, retryAfter: 2000 } as const
const over = { ...open, retryAfter: 0 }

const call = (at: number, of: Partial<Call> = {}): Call => ({
  is: "call",
  at,
  begunAt: at,
  circuit: CIRCUIT,
  before: closed,
  isFirst: false,
  atOnce: true,
  startedAt: at,
  endedAt: at + 1,
  ended: "ok",
  ...of
})
const rejected = (at: number, of: Partial<Call> = {}): Call =>
  call(at, { before: open, startedAt: undefined, endedAt: at, ended: "rejected", ...of })

let lastId = 0
/** A request that is sent at `at` and answered 1 ms later. Its answer is dated between the two. */
const exchange = (
  at: number,
  request: Partial<Request>,
  seen: Partial<Seen> | null = {},
  done = true
): ReadonlyArray<Entry> => {
  const id = ++lastId
  const state = { circuit: CIRCUIT, generation: 0, state: "Closed", asOf: at + 0.5, ...seen } as const
  return [
    { is: "sent", at, id, requests: [{ circuit: CIRCUIT, generation: 0, what: "Report", ...request }] },
    { is: "answered", at: at + 1, id, seen: [seen === null ? null : state], done }
  ]
}

const tripped = { generation: 1, state: "Open", why: "5 failures" } as const
const halfOpen = { generation: 2, state: "HalfOpen", why: "time" } as const
const healed = { generation: 3, state: "Closed", why: "probe" } as const
const ask = (name: string) => ({ what: "Ask", generation: 1, lease: name, duration: 3000, probes: 1 })

const trip = (at: number) => exchange(at, { what: "Trip" }, tripped)
const grant = (at: number, name = "a 1") => exchange(at, ask(name), halfOpen)
const settle = (at: number, name = "a 1") => exchange(at, { what: "SettleSuccess", generation: 2, lease: name }, healed)
const ignored = (at: number, generation: number) =>
  exchange(at, { what: "SettleIgnored", generation, lease: "a 1" }, halfOpen)
const probe = (at: number) => call(at, { before: over, atOnce: false, startedAt: at + 5 })

/** A circuit that opens, and that a probe closes. */
const story: ReadonlyArray<Entry> = [
  { is: "started", at: 0, skew: 0 },
  call(10, { isFirst: true, atOnce: false, startedAt: 50 }),
  ...exchange(900, {}),
  call(1000, { ended: "failed" }),
  ...trip(1001),
  rejected(1500),
  ...exchange(1900, {}, tripped),
  ...exchange(2900, {}, tripped),
  ...exchange(3900, {}, tripped),
  ...grant(4100),
  probe(4099),
  ...settle(4200),
  call(4300, { before: { ...closed, generation: 3 } })
]

const run = (logs: ReadonlyArray<ReadonlyArray<Entry>>, of: Partial<Run> = {}): Run => ({
  logs,
  faults: [],
  strict: [],
  quiet: {},
  interval: 1000,
  epoch: 0,
  openFor: 3000,
  sightings: [],
  ...of
})
const loss = { what: "Redis starts again empty", from: 2000, to: 2100, losesData: true }

const QUIET = { quiet: { [CIRCUIT]: 4000 } }
const polled = (at: number, failed = false): Entry => ({ is: "polled", at, failed })
/** A process that reports a circuit once in so many seconds, and polls each second. */
const quietly = (seconds: number): ReadonlyArray<Entry> => [
  call(0),
  ...exchange(10, {}),
  call(20),
  ...Array.from({ length: seconds }, (_, i) => [polled((i + 1) * 1000), call((i + 1) * 1000 + 1)]).flat(),
  ...exchange(seconds * 1000 + 10, {})
]

/** A process that knows generation 0 while generation 1 is stored. */
const behind = (at: number): Sighting => ({ process: 0, circuit: CIRCUIT, stored: 1, known: 0, at, since: 5000 })

describe("the check of a fleet's logs", () => {
  it("the check of a fleet's logs finds nothing wrong with a circuit that opens and is closed by a probe", () => {
    assert.deepEqual(check(run([story, []])), [])
  })

  const wrong: Readonly<Record<string, readonly [logs: ReadonlyArray<ReadonlyArray<Entry>>, of?: Partial<Run>]>> = {
    "ended with StorageError": [[[...story, call(5000, { ended: "StorageError" })]]],
    "waited, which knew": [[[...story, call(5000, { atOnce: false, startedAt: 5020 })]]],
    "waited for 2000 ms": [[[call(10, { isFirst: true, atOnce: false, startedAt: 2010, endedAt: 2010 })]]],
    "ran, which is open": [[[...story, call(1600, { before: open })]]],
    "is a probe without a lease": [[
      story.filter((entry) => !("requests" in entry && entry.requests[0]!.what === "Ask"))
    ]],
    "and knew 3": [[[...story, call(5000, { before: { ...closed, generation: 2 } })]]],
    "knows generation 0 of payments, and knew 1": [[[...trip(100), call(200)]]],
    "had no answer about payments": [[[call(0), ...exchange(10, {}), call(20), ...exchange(9000, {})]]],
    "did not hear of payments for 4": [
      [quietly(5).filter((entry) => entry.is !== "polled" || entry.at === 1000)],
      QUIET
    ],
    "did not report payments": [[quietly(9)], QUIET],
    "is Open (5 failures), and Open (2 failures)": [[story, exchange(2000, {}, { ...tripped, why: "2 failures" })]],
    "received generation 0 of payments after generation 1": [[story, exchange(2000, {})]],
    "no probe has succeeded before it": [[[...exchange(10, {}, healed)]]],
    "was tripped by processes 0 and 1": [[story, exchange(1100, { what: "Trip" }, tripped)]],
    "2 leases of payments are live": [[story, grant(4150, "b 1")]],
    "was settled at 4200.5, and again at 7900.5": [[
      [...trip(1), ...grant(4100), ...ignored(4200, 2)],
      ignored(7900, 2)
    ]],
    "of generation 2 was settled in 1": [[[...trip(1), ...grant(4100), ...ignored(4200, 1)]]],
    "a strict call of process 1 ran": [[story, [call(1600)]], { strict: [CIRCUIT] }],
    "knows generation 0 of payments, and 1 was stored for 5001 ms": [[story], { sightings: [behind(10_001)] }]
  }

  for (const [message, [logs, of]] of Object.entries(wrong)) {
    it(`the check of a fleet's logs finds: "${message}"`, () => {
      const broken = check(run(logs, of))
      assert.isTrue(broken.some((text) => text.includes(message)), broken.join("\n"))
    })
  }

  it("the check of a fleet's logs allows a quiet circuit that is polled, and polls that fail", () => {
    assert.deepEqual(check(run([quietly(5)], QUIET)), [])
    assert.notDeepEqual(check(run([quietly(5)])), [])
    assert.deepEqual(check(run([[...quietly(9), polled(4500, true)]], QUIET)), [])
  })

  // Each log breaks a promise, unless its process was kept from running for `by` milliseconds.
  const late: Readonly<Record<string, readonly [by: number, log: ReadonlyArray<Entry>, of?: Partial<Run>]>> = {
    "a first call that waits for its circuit": [1500, [call(10, { isFirst: true, atOnce: false, startedAt: 2010 })]],
    "a probe that is begun when the open time is over": [
      504,
      [
        ...trip(1),
        ...grant(2602),
        call(1600, { before: { ...open, retryAfter: 1000 }, atOnce: false, begunAt: 2601, startedAt: 2604 })
      ]
    ],
    "a report": [5681, [call(0), ...exchange(10, {}), call(20), ...exchange(9000, {})]],
    "agreement": [1, story, { sightings: [behind(10_000)] }]
  }
  for (const [what, [by, entries, of]] of Object.entries(late)) {
    it(`the check of a fleet's logs allows for a process that was kept from running: ${what}`, () => {
      const log = (by: number): ReadonlyArray<Entry> => [...entries, { is: "late", since: 0, at: 20_000, by }]
      assert.deepEqual(check(run([log(by)], of)), [])
      assert.notDeepEqual(check(run([log(by - 1)], of)), [])
    })
  }

  it("the check of a fleet's logs allows a lease in the place of one whose settlement may have been lost", () => {
    const unanswered = exchange(4200, { what: "SettleFailure", generation: 2, lease: "a 1" }, null)
    const logs = (at: number) => [[...trip(1), ...grant(4100), ...unanswered], grant(at, "b 1")]
    assert.deepEqual(check(run(logs(4300))), [])
    assert.lengthOf(check(run(logs(4120))), 1)
  })

  it("the check of a fleet's logs allows a lost generation where a server lost its data, and nowhere else", () => {
    const lost = [story, exchange(2200, {})]
    assert.deepEqual(check(run(lost, { faults: [loss] })), [])
    assert.notDeepEqual(check(run(lost, { faults: [{ ...loss, losesData: false }] })), [])
  })
})
