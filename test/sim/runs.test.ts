/**
 * Runs that once broke a rule of the protocol. `test/scenarios` shows the rules one by one; here are those that need
 * many instances, high rates, or requests that no instance of this version sends.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { created } from "../../src/core/Record.ts"
import type { Breaker, Trip } from "../../src/index.ts"
import type { Operation, PutBack, Snapshot, StorageError } from "../../src/Storage/Storage.ts"
import { type Behaviour, Fleet, type FleetOptions, type Process } from "../../src/testing/internal/Fleet.ts"
import { perfect } from "../../src/testing/internal/Link.ts"
import type { Handled } from "../../src/testing/internal/Server.ts"
import { fails, succeeds } from "./nodes.ts"

const seconds = (n: number): number => n * 1000
const minutes = (n: number): number => n * 60_000
const hours = (n: number): number => n * 3_600_000

const consecutive = (failures: number): Trip.Trip => ({ _tag: "ConsecutiveFailures", failures })

const fleetOf = (policy: Breaker.Data, options: Partial<FleetOptions> = {}): Fleet =>
  new Fleet({ seed: 1, circuits: [{ name: "c", policy }], ...options })

const startAll = (fleet: Fleet, processes: number): ReadonlyArray<Process> =>
  Array.from({ length: processes }, () => fleet.start())

/** Calls at a steady rate from now on, for so many milliseconds. */
const callSteadily = (process: Process, behaviour: Behaviour, every: number, millis: number): void => {
  const { world } = process.fleet
  for (let at = 0; at < millis; at += every) world.after(at, () => process.call(0, behaviour))
}

const stored = ({ server }: Fleet, name = "c") => server.documents.get(name)?.record

const stateOf = (process: Process): string => process.snapshot(0).state

/** Counts the calls that end from now on. */
const countCalls = (fleet: Fleet) => {
  const calls = { ran: 0, rejected: 0 }
  fleet.watchers.push({ callEnds: ({ startedAt }) => calls[startedAt === undefined ? "rejected" : "ran"]++ })
  return calls
}

/** The reply to the next report of a process takes half a second. */
const delayNextReply = (fleet: Fleet, process: Process): void => {
  let isNext = true
  fleet.watchers.push({
    handled: ({ from, input }) => {
      if (from !== process.index || input._tag !== "Report" || !isNext) return
      isNext = false
      process.link.quality = { ...perfect, latency: 500 }
      fleet.world.after(0, () => process.link.quality = perfect)
    }
  })
}

const requestsOf = (fleet: Fleet) => {
  const handled: Array<Handled> = []
  fleet.watchers.push({ handled: (one) => handled.push(one) })
  return handled
}

/** Opens the circuit for all processes by a failure in this one. */
const open = (fleet: Fleet, process: Process): void => {
  process.call(0, fails)
  fleet.advance(200)
  assert.strictEqual(stored(fleet)?.state._tag, "Open")
}

const any = (openFor: number, more: Partial<Breaker.Data> = {}): Breaker.Data => ({
  trip: consecutive(1),
  evidence: "any",
  openFor,
  ...more
})

describe("one bad node of 40, at 200 calls a second", () => {
  const policies: Record<string, Breaker.Data> = {
    "by consecutive failures": { trip: consecutive(5), openFor: 3000 },
    "by a rate": {
      trip: { _tag: "FailureRate", threshold: 0.5, minimumCalls: 20, window: { _tag: "Within", duration: 10_000 } },
      openFor: 3000
    }
  }
  for (const [how, policy] of Object.entries(policies)) {
    for (const isFresh of [false, true]) {
      it(`one bad node of 40 isolates itself ${how}${isFresh ? ", in a fresh generation" : ""}, and returns`, () => {
        const fleet = fleetOf(policy)
        const [bad, ...others] = startAll(fleet, 40)
        const callAll = (ofBad: Behaviour, millis: number): void => {
          // Each at its own times, so that no two instances call at once.
          for (const [i, process] of [bad!, ...others].entries()) {
            fleet.world.after(i * 0.125, () => callSteadily(process, process === bad ? ofBad : succeeds, 5, millis))
          }
        }
        if (!isFresh) {
          callAll(succeeds, 2000)
          fleet.advance(2000)
        } else {
          Effect.runSync(fleet.server.storage.change("c", operation(0, { _tag: "Reset" })))
        }
        let isolated = 0
        callAll({ ...fails, takes: 1 }, 5000)
        for (let i = 0; i < 50; i++) {
          fleet.advance(100)
          assert.strictEqual(stored(fleet)?.state._tag ?? "Closed", "Closed")
          for (const other of others) assert.strictEqual(stateOf(other), "Closed")
          if (bad!.snapshot(0).isolated) isolated++
        }
        assert.isAbove(isolated, 20)
        callAll(succeeds, 5000)
        fleet.advance(5000)
        assert.strictEqual(stateOf(bad!), "Closed")
        assert.strictEqual(stored(fleet)?.lifetime.opened, 0)
      })
    }
  }
})

const operation = (known: number, to: Operation["to"], id = `operation ${known}`): Operation => ({
  _tag: "Operation",
  id,
  known,
  why: { reason: "test" },
  to
})

describe("lost data", () => {
  it("a wipe does not close an open circuit, though a fresh instance reports first", () => {
    const fleet = fleetOf(any(minutes(1)))
    const knower = fleet.start()
    open(fleet, knower)
    fleet.server.wipe()
    const fresh = fleet.start()
    fresh.call(0, succeeds)
    fleet.advance(100)
    assert.strictEqual(stateOf(fresh), "Closed")
    for (let i = 0; i < 30; i++) {
      fleet.advance(100)
      assert.strictEqual(stateOf(knower), "Open")
    }
    assert.strictEqual(stored(fleet)?.state._tag, "Open")
    fresh.call(0, succeeds)
    fleet.advance(seconds(2))
    assert.strictEqual(stateOf(fresh), "Open")
  })

  const closed: Snapshot["state"] = { _tag: "Closed" }
  const putBack = (generation: number, state: Snapshot["state"]): PutBack => ({
    _tag: "PutBack",
    age: 0,
    leases: [],
    snapshot: {
      format: 1,
      generation,
      asOf: 0,
      state,
      elapsed: 1000,
      openings: 1,
      openFor: 60_000,
      hint: 0,
      lifetime: { success: 0, failure: 0, ignored: 0, timeout: 0, slow: 0, rejected: 0, opened: 1 },
      totals: [],
      streak: 0
    }
  })
  const namesOf = (order: ReadonlyArray<PutBack>): string =>
    order.map(({ snapshot }) => `${snapshot.state._tag} ${snapshot.generation}`).join(", ")
  const seven = putBack(7, closed)
  const eight = putBack(8, { _tag: "Open", remaining: 30_000 })
  for (const stale of ["Closed", "Open"] as const) {
    for (const order of [[seven, eight], [eight, seven], [seven, eight, seven, eight], [eight, seven, eight]]) {
      it(`putting ${namesOf(order)} back over ${stale} 5 ends in Open`, () => {
        const { server } = fleetOf(any(minutes(1)))
        const now = server.now()
        server.documents = new Map([["c", {
          record: {
            ...created(now),
            generation: 5,
            state: stale === "Open" ? { _tag: "Open", until: now + 20_000 } : { _tag: "Closed" }
          },
          history: []
        }]])
        for (const change of order) Effect.runSync(server.storage.change("c", change))
        assert.strictEqual(server.documents.get("c")?.record.state._tag, "Open")
      })
    }
  }

  for (
    const [when, wait] of [["after the circuit has expired", seconds(30)], [
      "before the circuit has expired",
      seconds(8)
    ]] as const
  ) {
    it(`a paused instance puts no ended override back into a wiped storage, ${when}`, () => {
      const fleet = fleetOf(any(minutes(1)), { idleTimeToLive: seconds(10) })
      const [operator, knower] = startAll(fleet, 2)
      knower!.call(0, succeeds)
      operator!.operate(
        0,
        (breaker) => breaker.override({ mode: "ForcedOpen", reason: "drill", actor: "me", expiresIn: "5 seconds" })
      )
      fleet.advance(seconds(2))
      assert.strictEqual(knower!.snapshot(0).override?.mode, "ForcedOpen")
      knower!.machine.pause()
      operator!.crash()
      fleet.server.wipe()
      fleet.server.stepClock(-minutes(10))
      fleet.advance(wait)
      knower!.machine.resume()
      const calls = countCalls(fleet)
      knower!.call(0, succeeds)
      fleet.advance(seconds(3))
      knower!.call(0, succeeds)
      fleet.advance(seconds(3))
      const record = stored(fleet)
      assert.isTrue(record?.override === undefined || record.override.until! <= fleet.server.now())
      assert.strictEqual(knower!.snapshot(0).override, undefined)
      assert.deepStrictEqual(calls, { ran: 2, rejected: 0 })
    })
  }
})

describe("leases", () => {
  it("a holder whose lease has lapsed decides once, and not in a later generation (F1)", () => {
    const opening = { openFor: 1000, maxOpenFor: 1000 }
    for (
      const outcome of [
        { _tag: "Failure", opening, hint: 0, why: { reason: "late" } },
        { _tag: "Success", successes: 1, why: { reason: "late" } }
      ] as const
    ) {
      const fleet = fleetOf(any(1000))
      open(fleet, fleet.start())
      fleet.advance(seconds(2))
      const ask = (instance: string) =>
        Effect.runSync(fleet.server.storage.probe("c", {
          _tag: "Ask",
          lease: { instance, sequence: 1 },
          generation: 0,
          duration: 1000,
          probes: 1
        }))
      const { granted, snapshot: { generation } } = ask("first")
      fleet.world.advance(1001)
      assert.isTrue(granted && ask("second").granted)
      const settle = (instance: string) =>
        Effect.runSync(
          fleet.server.storage.probe("c", {
            _tag: "Settle",
            lease: { instance, sequence: 1 },
            generation,
            outcome
          })
        ).granted
      assert.isTrue(settle("first"))
      const settled = stored(fleet)
      assert.strictEqual(settled?.state._tag, outcome._tag === "Failure" ? "Open" : "Closed")
      assert.deepStrictEqual([settle("first"), settle("second")], [false, false])
      assert.strictEqual(stored(fleet), settled)
    }
  })

  it("a denied instance requests one lease for each denial, at 10,000 calls a second", () => {
    const fleet = fleetOf(any(1000, { halfOpen: { lease: seconds(5) } }))
    const [holder, ...others] = startAll(fleet, 4)
    open(fleet, holder!)
    for (const other of others) other.call(0, succeeds)
    fleet.advance(seconds(2))
    holder!.call(0, { ends: "succeeds", takes: 4000 })
    fleet.advance(50)
    const requests = requestsOf(fleet)
    for (const other of others) callSteadily(other, succeeds, 0.1, 1000)
    fleet.advance(1000)
    const asks = requests.filter(({ input }) => input._tag === "Ask")
    assert.isAtMost(asks.length, others.length)
  })

  it("a probe runs although the storage is twice as slow as the deadline", () => {
    const fleet = fleetOf(any(1000))
    const process = fleet.start()
    open(fleet, process)
    process.link.quality = { ...perfect, latency: seconds(2) }
    const calls = countCalls(fleet)
    callSteadily(process, succeeds, 100, seconds(6))
    fleet.advance(seconds(6))
    assert.isAbove(calls.ran, 0)
    assert.strictEqual(stateOf(process), "Closed")
  })

  it("a lease is granted whole, though the row was locked for longer", () => {
    const fleet = fleetOf(any(1000, { halfOpen: { lease: 2000 } }))
    const process = fleet.start()
    open(fleet, process)
    fleet.advance(seconds(2))
    const requests = requestsOf(fleet)
    fleet.server.lockedUntil.set("c", fleet.world.now + 5000)
    process.call(0, succeeds)
    fleet.advance(seconds(6))
    const granted = requests.find(({ after, input }) => input._tag === "Ask" && after?.record.state._tag === "HalfOpen")
    assert.isDefined(granted)
    const { after, input, now } = granted!
    const lease = after!.record.state._tag === "HalfOpen" ? after!.record.state.leases[0] : undefined
    assert.strictEqual(lease!.until - now, input._tag === "Ask" ? input.duration : 0)
  })
})

describe("reports", () => {
  const policy: Breaker.Data = {
    trip: { _tag: "Failures", count: 1000, within: minutes(1) },
    openFor: 1000
  }

  it("a report is counted once with a lost reply, more outcomes and a retry", () => {
    const fleet = fleetOf(policy)
    const process = fleet.start()
    for (let i = 0; i < 3; i++) process.call(0, fails)
    fleet.advance(10)
    process.link.quality = { ...perfect, losesReply: 1 }
    for (let i = 0; i < 4; i++) process.call(0, fails)
    fleet.advance(500)
    for (let i = 0; i < 5; i++) process.call(0, i % 2 === 0 ? fails : succeeds)
    fleet.advance(2000)
    process.link.quality = perfect
    fleet.advance(seconds(4))
    assert.deepInclude(stored(fleet)!.lifetime, { failure: 10, success: 2 })
    const counted = stored(fleet)!.window.reduce((sum, { failure, success }) => sum + failure + success, 0)
    assert.strictEqual(counted, 12)
  })

  it("reports of a batch over two shards are counted right while one is dead", () => {
    const names = ["c", "d"]
    const fleet = new Fleet({ seed: 1, circuits: names.map((name) => ({ name, policy })) })
    const process = fleet.start()
    for (const circuit of [0, 1]) process.call(circuit, succeeds)
    fleet.advance(10)
    fleet.server.unavailable.add("d")
    for (const circuit of [0, 1]) for (let i = 0; i < 3; i++) process.call(circuit, fails)
    fleet.advance(seconds(3))
    assert.deepInclude(stored(fleet, "c")!.lifetime, { failure: 3, success: 1 })
    for (const circuit of [0, 1]) process.call(circuit, fails)
    fleet.advance(seconds(1))
    fleet.server.unavailable.clear()
    fleet.advance(seconds(3))
    for (const name of names) assert.deepInclude(stored(fleet, name)!.lifetime, { failure: 4, success: 1 })
  })
})

describe("strict", () => {
  const strict: Breaker.Data = { trip: consecutive(3), openFor: minutes(1), consistency: "strict" }

  it("strict: a call is rejected that arrived after the trip, while the reply of an older load was under way", () => {
    const fleet = fleetOf(strict)
    const [reader, tripper] = startAll(fleet, 2)
    // Its first load has seen Closed.
    delayNextReply(fleet, reader!)
    reader!.call(0, succeeds)
    fleet.advance(10)
    for (let i = 0; i < 3; i++) {
      tripper!.call(0, fails)
      fleet.advance(20)
    }
    assert.strictEqual(stored(fleet)?.state._tag, "Open")
    const calls = countCalls(fleet)
    reader!.call(0, succeeds)
    fleet.advance(seconds(1))
    // The first call, which waited for its load, may run.
    assert.strictEqual(calls.rejected, 1)
  })

  it("strict: calls are rejected after so many failures in sequence, wherever they happen", () => {
    const fleet = fleetOf(strict)
    const processes = startAll(fleet, 3)
    const calls = countCalls(fleet)
    for (const process of processes) {
      process.call(0, fails)
      while (process.calls.size > 0) fleet.advance(1)
    }
    assert.deepStrictEqual(calls, { ran: 3, rejected: 0 })
    for (const process of processes) process.call(0, fails)
    fleet.advance(100)
    assert.deepStrictEqual(calls, { ran: 3, rejected: 3 })
  })
})

describe("the idle time", () => {
  it("the idle time does not lift an override of an idle circuit", () => {
    const fleet = fleetOf(any(1000))
    const operator = fleet.start()
    operator.operate(0, (breaker) => breaker.override({ mode: "ForcedOpen", reason: "drill", actor: "me" }))
    fleet.advance(hours(3))
    operator.crash()
    const calls = countCalls(fleet)
    fleet.start().call(0, succeeds)
    fleet.advance(seconds(1))
    assert.deepStrictEqual(calls, { ran: 0, rejected: 1 })
  })

  it("the idle time does not forget the backoff of a circuit that was open for longer", () => {
    const fleet = fleetOf(any(hours(2), { maxOpenFor: hours(4) }))
    const process = fleet.start()
    open(fleet, process)
    fleet.advance(hours(2) + minutes(1))
    process.call(0, fails)
    fleet.advance(seconds(1))
    assert.strictEqual(stored(fleet)?.openings, 2)
    fleet.advance(hours(2))
    assert.strictEqual(fleet.start().snapshot(0).openings, 0)
  })
})

describe("what comes late", () => {
  it("a trip that was decided before a pause of ten minutes is refused", () => {
    const fleet = fleetOf({ trip: consecutive(3), openFor: minutes(1) })
    const process = fleet.start()
    fleet.watchers.push({
      sent: (_, { inputs }) => {
        if (inputs.get("c")?._tag === "Trip") {
          fleet.server.lockedUntil.set("c", fleet.world.now + minutes(10))
          process.machine.pause()
        }
      }
    })
    const requests = requestsOf(fleet)
    for (let i = 0; i < 3; i++) process.call(0, fails)
    fleet.advance(minutes(11))
    const trip = requests.find(({ input }) => input._tag === "Trip")
    assert.isDefined(trip)
    assert.strictEqual(trip!.before, trip!.after)
    assert.strictEqual(stored(fleet)?.state._tag, "Closed")
  })

  it("a reply that was computed before an override and arrives after it is ignored", () => {
    const fleet = fleetOf({ trip: consecutive(3), openFor: minutes(1) }, { pushes: true })
    const [slow, operator] = startAll(fleet, 2)
    slow!.call(0, succeeds)
    fleet.advance(10)
    delayNextReply(fleet, slow!)
    slow!.call(0, fails)
    fleet.advance(100)
    operator!.operate(0, (breaker) => breaker.override({ mode: "ForcedOpen", reason: "kill switch", actor: "me" }))
    fleet.advance(100)
    for (let i = 0; i < 10; i++) {
      assert.strictEqual(slow!.snapshot(0).override?.mode, "ForcedOpen")
      fleet.advance(100)
    }
  })
})

describe("names", () => {
  const names = ["", "}x", "\0", "a", "A", "a ", "é", "e\u0301", "{pre}fix", "{pre", "__proto__"]

  it("circuits are told apart by the code points of their names", () => {
    const { server } = fleetOf(any(1000))
    for (const [i, name] of names.entries()) {
      const { snapshot } = Effect.runSync(server.storage.change(name, operation(i, { _tag: "HalfOpen" }, `for ${i}`)))
      assert.strictEqual(snapshot.state._tag, "HalfOpen")
      for (const later of names.slice(i + 1)) assert.isUndefined(server.documents.get(later))
    }
  })

  it("a circuit's name that is not well-formed is refused", () => {
    const { server } = fleetOf(any(1000))
    const exit = Effect.runSyncExit(server.storage.change("\ud800", operation(0, { _tag: "Reset" })))
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) as StorageError : undefined
    assert.strictEqual(error?.reason, "Invalid")
    assert.strictEqual(server.documents.size, 0)
  })
})

describe("an operator", () => {
  it("an operator who cannot be served gets an error, and nothing has changed anywhere", () => {
    const fleet = fleetOf(any(1000))
    const [operator, other] = startAll(fleet, 2)
    other!.call(0, succeeds)
    operator!.link.quality = { ...perfect, cut: "refused" }
    const fiber = operator!.operate(
      0,
      (breaker) => breaker.override({ mode: "ForcedOpen", reason: "drill", actor: "me" })
    )
    fleet.advance(seconds(3))
    const exit = fiber.pollUnsafe()
    assert.isTrue(exit !== undefined && Exit.isFailure(exit))
    for (const process of [operator!, other!]) assert.strictEqual(process.snapshot(0).override, undefined)
    Effect.runFork(Fiber.interrupt(fiber))
  })
})
