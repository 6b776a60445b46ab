/** Laws about operators, subscribers, the process and outages. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { OperationTo } from "../core/Change.ts"
import { RESERVED_PREFIX } from "../core/Reserved.ts"
import type { Announcement, StorageError } from "../Storage/Storage.ts"
import { atLeast, is, near, Range, type Unmet } from "./Claim.ts"
import {
  atOnce,
  author,
  circuitOf,
  type Definition,
  eventually,
  failed,
  failure,
  failures,
  FENCED,
  FORCED,
  ignored,
  law,
  liveNow,
  liveSleep,
  MINUTE,
  reading,
  reasonOf,
  soon,
  success,
  times
} from "./Law.ts"
import { HOSTILE } from "./Names.ts"

export const operators: ReadonlyArray<Definition> = [
  law(
    "list returns the name of every circuit with a record, and no other of this run",
    FENCED,
    function*({ circuit, storage }) {
      const written = HOSTILE.map((text) => circuit(text).name)
      yield* storage.sync(written.map((name) => ({ ...reading(name, "a"), delta: ignored(1) })))
      yield* circuit("read").read
      const listed = yield* Stream.runCollect(storage.list)
      const listedOfThisRun = listed.filter((name) => name.startsWith(circuit().name)).toSorted()
      yield* is("the names of this run", listedOfThisRun, written.toSorted())
    }
  ),

  law("a circuit with a reserved name is kept, but not listed", FENCED, function*({ circuit, storage }) {
    const { name } = circuit()
    const reserved = circuitOf(storage, `${RESERVED_PREFIX}${name}`)
    yield* reserved.report(ignored(1))
    yield* is("its count", (yield* reserved.read).lifetime.ignored, 1)
    const listed = yield* Stream.runCollect(storage.list)
    yield* is("the names of this run", listed.filter((listed) => listed.includes(name)), [])
  }),

  law(
    "the history has every change, newest first, with its author and cause",
    { history: true, fences: true },
    function*({ circuit, storage }) {
      const it = circuit("'; {*}\n🦆")
      const seen = yield* it.read
      const first = (yield* it.trip(seen)).snapshot
      yield* it.trip(seen)
      yield* it.report(failures(1))
      const second = (yield* it.operate({ _tag: "Override", ...FORCED })).snapshot
      const third = (yield* it.operate({ _tag: "ClearOverride" })).snapshot
      const fourth = (yield* it.operate({ _tag: "HalfOpen" })).snapshot
      yield* it.ask("a")
      const fifth = (yield* it.settle("a", success())).snapshot
      const sixth = (yield* it.putBack({ ...first, generation: fifth.generation + 1 })).snapshot
      const why = (reason: string) => ({ reason, actor: "ann" })
      const entries = yield* storage.history(it.name)
      yield* is("all of it", entries, [
        { generation: sixth.generation, from: "Closed", to: "Open" },
        { generation: fifth.generation, from: "HalfOpen", to: "Closed", why: { reason: "recovered" } },
        { generation: fourth.generation, from: "Open", to: "HalfOpen", why: why("HalfOpen by hand") },
        {
          generation: third.generation,
          from: "Open",
          to: "Open",
          override: undefined,
          why: why("ClearOverride by hand")
        },
        {
          generation: second.generation,
          from: "Open",
          to: "Open",
          override: "ForcedOpen",
          why: why("Override by hand")
        },
        { generation: first.generation, from: "Closed", to: "Open", override: undefined, why: author.why }
      ])
      yield* is(
        "its times",
        entries.map(({ at }) => at),
        [sixth, fifth, fourth, third, second, first].map(({ asOf }) => near(asOf))
      )
      const [a, b] = yield* storage.history(it.name, { limit: 2 })
      yield* is("the last two", [a?.generation, b?.generation], [sixth.generation, fifth.generation])
      for (const _ of times(20)) yield* it.operate({ _tag: "Reset" })
      yield* is("how many entries it has without a limit", (yield* storage.history(it.name)).length, 20)
      yield* is("the history of a circuit that was never written", yield* storage.history(circuit("never").name), [])
    }
  ),

  law(
    "a storage without history returns an empty one",
    { history: false, fences: true },
    function*({ circuit, storage }) {
      const it = circuit()
      yield* it.open()
      yield* is("after a change", yield* storage.history(it.name), [])
    }
  )
]

export const announcements: ReadonlyArray<Definition> = [
  law(
    "changes begins with Subscribed and then emits every change",
    { pushes: true },
    function*(subject) {
      const { another, capabilities, circuit, storage, unit, wait } = subject
      const listener = capabilities.shared ? yield* another : storage
      const announced: Array<Announcement> = []
      yield* listener.changes.pipe(
        Stream.runForEach((announcement) => Effect.sync(() => announced.push(announcement))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* eventually(subject, "the first announcement", () => announced[0], { _tag: "Subscribed" })
      const it = circuit("'; {*}\n🦆")
      const changes = {
        "a trip": it.open({ openFor: unit }),
        "a half-open round": Effect.andThen(wait(unit), it.ask("a")),
        "a settled probe": it.settle("a", success()),
        "an override": it.operate({ _tag: "Override", ...FORCED }),
        "a removal": it.operate({ _tag: "Remove" }),
        "a put-back": Effect.flatMap(
          it.read,
          (seen) => it.putBack({ ...seen, generation: seen.generation + 1, state: { _tag: "Open", remaining: MINUTE } })
        ),
        "a put-back that leaves an Open": Effect.flatMap(
          it.read,
          (seen) => it.putBack({ ...seen, generation: seen.generation + 1, state: { _tag: "Closed" } })
        )
      }
      for (const [name, change] of Object.entries(changes)) {
        const { snapshot: { generation } } = yield* change
        const isIts = (announcement: Announcement) =>
          announcement._tag === "Changed" && announcement.circuit === it.name && announcement.generation === generation
        yield* eventually(subject, `whether ${name} is announced`, () => announced.some(isIts), true)
      }
      for (const announcement of announced) {
        if (announcement._tag === "Subscribed" || announcement.snapshot === undefined) continue
        yield* is("the snapshot beside a generation", announcement.snapshot.generation, announcement.generation)
      }
    }
  ),

  law("a storage that does not push emits no changes", { pushes: false }, function*({ circuit, storage }) {
    const announced: Array<Announcement> = []
    yield* storage.changes.pipe(
      Stream.runForEach((announcement) => Effect.sync(() => announced.push(announcement))),
      Effect.forkScoped({ startImmediately: true })
    )
    yield* Effect.ignore(circuit().open())
    yield* liveSleep(50)
    yield* is("the announcements", announced, [])
  })
]

/** The longest delay of a 1 ms timer while the burst ran. */
const delayOf = <E>(burst: Effect.Effect<unknown, E>): Effect.Effect<number, E> =>
  Effect.gen(function*() {
    let latest = 0
    let over = false
    const watch = Effect.gen(function*() {
      while (!over) {
        const start = liveNow()
        yield* liveSleep(1)
        latest = Math.max(latest, liveNow() - start - 1)
      }
    })
    const watcher = yield* Effect.forkChild(watch, { startImmediately: true })
    yield* liveSleep(5)
    yield* burst
    over = true
    yield* Fiber.join(watcher)
    return latest
  })

export const machine: ReadonlyArray<Definition> = [
  law(
    "an interrupted operation is applied whole or not at all, can be repeated, and leaves the storage usable",
    FENCED,
    function*({ circuit }) {
      const it = circuit()
      const operated = circuit("operated")
      const seen = yield* it.read
      for (const moment of times(20)) {
        const writes: Record<string, Effect.Effect<unknown, Unmet | StorageError>> = {
          "a report": it.send({ instance: "a", sequence: moment + 1, delta: failures(1) }),
          "an operation": operated.operate({ _tag: "Override", ...FORCED }, { id: `${operated.name} ${moment}` })
        }
        for (const [name, write] of Object.entries(writes)) {
          const fiber = yield* Effect.forkDetach(write, { startImmediately: true })
          for (const _ of times(moment % 10)) yield* Effect.yieldNow
          if (moment >= 10) yield* liveSleep((moment - 10) / 2)
          yield* soon(`the interruption of ${name}`, Fiber.interrupt(fiber))
          yield* soon(`${name}, sent again`, write)
        }
        yield* is("the count", yield* soon("a read", it.read), { ...failed(moment + 1), generation: 0 })
        yield* is("the override", yield* soon("a read", operated.read), { override: FORCED })
      }
      const fiber = yield* Effect.forkDetach(it.trip(seen), { startImmediately: true })
      yield* soon("the interruption of a trip", Fiber.interrupt(fiber))
      const { lifetime, openings, state } = yield* soon("a read", it.read)
      const opened = state._tag === "Open" ? 1 : 0
      yield* is("openings", [openings, lifetime.opened], [opened, opened])
    }
  ),

  law("no operation blocks the event loop", {}, function*({ circuit, maxBlocking, storage }) {
    const bursts: Record<string, (index: number) => Effect.Effect<unknown, Unmet | StorageError>> = {
      sync: (index) => circuit(`${index}`).report(failures(1), { instance: `${index}` }),
      change: (index) => Effect.result(circuit(`${index}`).operate({ _tag: "HalfOpen" })),
      probe: (index) => circuit(`${index}`).ask(`${index}`),
      list: () => Stream.runCollect(storage.list),
      history: (index) => storage.history(circuit(`${index}`).name)
    }
    for (const [operation, burst] of Object.entries(bursts)) {
      // A storage that blocks does so in each attempt, and other programs of the machine only add to a delay.
      let least = Infinity
      for (let tries = 0; tries < 5 && least > maxBlocking; tries++) {
        least = Math.min(least, yield* delayOf(atOnce(20, burst)))
      }
      yield* is(`the delay of a timer, in ms, beside twenty concurrent ${operation}`, least, new Range(0, maxBlocking))
    }
  })
]

export const outages: ReadonlyArray<Definition> = [
  law(
    "a storage without its data fails, and never answers that a circuit is Closed",
    FENCED,
    function*({ circuit, outage, storage }) {
      const it = circuit()
      const { snapshot: known } = yield* it.open()
      const operations = {
        sync: it.read,
        trip: it.trip(known),
        operate: it.operate({ _tag: "Reset" }),
        settle: it.probe({ _tag: "Settle", lease: { instance: "a", sequence: 1 }, generation: 0, outcome: failure }),
        list: Stream.runCollect(storage.list),
        history: storage.history(it.name)
      }
      yield* Effect.scoped(Effect.gen(function*() {
        yield* outage
        for (const [name, operation] of Object.entries(operations)) {
          const reason = yield* soon(`${name}, cut off`, reasonOf(operation))
          yield* is(`${name}, cut off`, reason === "Deadline" ? "Unavailable" : reason, "Unavailable")
        }
      }))
      // A request that failed may have been applied all the same.
      yield* is("the circuit, afterwards", yield* it.read, {
        generation: atLeast(known.generation),
        lifetime: { opened: atLeast(1) }
      })
    },
    { hooks: ["outage"] }
  )
]

export const fenceless: ReadonlyArray<Definition> = [
  law("a storage without fences commits and grants nothing, and says so", { fences: false }, function*({ circuit }) {
    const it = circuit()
    const seen = yield* it.read
    yield* is("a report", yield* it.send({ sequence: 1, delta: failures(5) }), { reported: "Counted" })
    yield* is("a trip", yield* it.trip(seen), { committed: false, snapshot: { state: { _tag: "Closed" } } })
    yield* is("a put-back", yield* it.putBack({ ...seen, generation: 7, state: { _tag: "Open", remaining: MINUTE } }), {
      committed: false
    })
    const operations: ReadonlyArray<OperationTo> = [
      { _tag: "Override", ...FORCED },
      { _tag: "ClearOverride" },
      { _tag: "Reset" },
      { _tag: "HalfOpen" },
      { _tag: "Remove" },
      { _tag: "Import", snapshot: seen }
    ]
    for (const to of operations) yield* is(to._tag, yield* reasonOf(it.operate(to)), "Denied")
    yield* is("a probe", yield* it.ask("a"), { granted: false })
    yield* is("the circuit", yield* it.read, { generation: 0, state: { _tag: "Closed" }, override: undefined })
  })
]
