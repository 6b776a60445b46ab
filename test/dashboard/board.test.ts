import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { Board, Viewer } from "../../src/dashboard/internal/Board.ts"
import type { Update } from "../../src/dashboard/internal/Feed.ts"
import type { Entry } from "../../src/Operator.ts"
import type { HistoryEntry, Snapshot } from "../../src/Storage/Storage.ts"
import { StorageError } from "../../src/Storage/Storage.ts"

const snapshot = (change: Partial<Snapshot> = {}): Snapshot => ({
  format: 1,
  generation: 1,
  asOf: 0 as Snapshot["asOf"],
  state: { _tag: "Closed" },
  openings: 0,
  openFor: 0,
  hint: 0,
  lifetime: { success: 1, failure: 0, ignored: 0, timeout: 0, slow: 0, rejected: 0, opened: 0 },
  totals: [],
  streak: 0,
  ...change
})

const entry = (circuit: string, change?: Partial<Snapshot>): Entry => ({
  circuit,
  result: Result.succeed(snapshot(change))
})

const OPEN: Partial<Snapshot> = { generation: 2, elapsed: 0, state: { _tag: "Open", remaining: 30_000 } }

class Watching {
  readonly board = new Board("memory")
  readonly limit: number
  constructor(limit = 100) {
    this.limit = limit
  }
  list(at: number, ...entries: ReadonlyArray<Entry>) {
    this.board.take({ _tag: "Listed", entries }, at)
    return this
  }
  change(at: number, ...entries: ReadonlyArray<Entry>) {
    this.board.take({ _tag: "Changed", entries }, at)
    return this
  }
  update(viewer: Viewer, at: number): Update {
    return this.board.updateFor(viewer, { at, here: [], limit: this.limit })
  }
}

const names = ({ circuits }: Update) => circuits.map(({ circuit }) => circuit)

describe("the board of a dashboard", () => {
  it("sends all circuits first, and then what changed", () => {
    const watching = new Watching().list(0, entry("a"), entry("b"))
    const viewer = new Viewer()
    const first = watching.update(viewer, 0)
    assert.deepStrictEqual([first.reset, first.total, names(first)], [true, 2, ["a", "b"]])
    watching.list(1000, entry("a"), entry("b", OPEN))
    const second = watching.update(viewer, 1000)
    assert.deepStrictEqual([second.reset, names(second), second.statuses.open], [false, ["b"], 1])
  })

  it("sends a closed circuit once whose counts have changed", () => {
    const watching = new Watching().list(0, entry("a"))
    const viewer = new Viewer()
    watching.update(viewer, 0)
    watching.list(1000, entry("a", { lifetime: { ...snapshot().lifetime, success: 2 } }))
    assert.deepStrictEqual(names(watching.update(viewer, 1000)), ["a"])
  })

  it("sends nothing of a circuit whose times alone have moved", () => {
    const watching = new Watching().list(0, entry("a", OPEN))
    const viewer = new Viewer()
    watching.update(viewer, 0)
    watching.list(10_000, entry("a", { ...OPEN, elapsed: 10_000, state: { _tag: "Open", remaining: 20_000 } }))
    assert.deepStrictEqual(names(watching.update(viewer, 10_000)), [])
  })

  it("shows a new viewer the times of now, although the circuit was read before", () => {
    const watching = new Watching().list(0, entry("a", OPEN))
    const [circuit] = watching.update(new Viewer(), 10_000).circuits
    assert.deepStrictEqual([circuit?.elapsed, circuit?.remaining], [10_000, 20_000])
  })

  it("gives a slow viewer what changed meanwhile, once, as it is now", () => {
    const watching = new Watching().list(0, entry("a"), entry("b"))
    const viewer = new Viewer()
    watching.update(viewer, 0)
    for (let generation = 2; generation < 50; generation++) {
      watching.change(generation, entry("a", { ...OPEN, generation }))
    }
    const { circuits } = watching.update(viewer, 100)
    assert.deepStrictEqual(circuits.map(({ circuit, generation }) => [circuit, generation]), [["a", 49]])
  })

  it("tells of circuits that are gone, and of one that came back only that it is there", () => {
    const watching = new Watching().list(0, entry("a"), entry("b"))
    const viewer = new Viewer()
    watching.update(viewer, 0)
    watching.list(1, entry("a"))
    assert.deepStrictEqual(watching.update(viewer, 1).removed, ["b"])
    watching.list(2, entry("a"))
    watching.list(3, entry("a"), entry("b"))
    const back = watching.update(viewer, 3)
    assert.deepStrictEqual([names(back), back.removed], [["b"], []])
  })

  it("begins anew for a viewer that missed more removals than are kept", () => {
    const watching = new Watching(20_000)
    const many = Array.from({ length: 10_001 }, (_, i) => entry(`k${i}`))
    watching.list(0, ...many)
    const viewer = new Viewer()
    watching.update(viewer, 0)
    watching.list(1, entry("a"))
    const update = watching.update(viewer, 1)
    assert.deepStrictEqual([update.reset, names(update)], [true, ["a"]])
  })

  it("leaves closed circuits out beyond the limit, and never one that is not closed", () => {
    const watching = new Watching(2).list(0, entry("a"), entry("b"), entry("c"), entry("d", OPEN))
    const viewer = new Viewer()
    const first = watching.update(viewer, 0)
    assert.deepStrictEqual([first.total, names(first)], [4, ["d", "a"]])
    watching.change(1, entry("c", OPEN))
    assert.deepStrictEqual(names(watching.update(viewer, 1)), ["c"])
    // It was shown as open, so it has to be shown as closed.
    watching.change(2, entry("c", { generation: 3 }))
    assert.deepStrictEqual(watching.update(viewer, 2).circuits.map(({ state }) => state), ["closed"])
  })

  it("asks for the histories of circuits that have changed, once, those that changed last first", () => {
    const { board } = new Watching().list(0, entry("old", { ...OPEN, elapsed: 60_000 }), entry("new", OPEN))
    board.take({ _tag: "Changed", entries: [entry("never", { generation: 0 })] }, 1)
    assert.deepStrictEqual([board.takeUnread(1), board.takeUnread(9), board.takeUnread(9)], [["new"], ["old"], []])
    board.take({ _tag: "Changed", entries: [entry("new", OPEN), entry("old", { ...OPEN, generation: 3 })] }, 2)
    assert.deepStrictEqual(board.takeUnread(9), ["old"])
  })

  it("keeps the latest of those that wait, and an override may be the latest of all", () => {
    const many = Array.from({ length: 200 }, (_, i) => entry(`k${i}`, { ...OPEN, elapsed: 1000 + i }))
    const override = { kind: "Disabled", reason: "a test", actor: "ann" } as const
    const { board } = new Watching().list(0, ...many, entry("overridden", { ...OPEN, elapsed: 90_000, override }))
    const taken = board.takeUnread(1000)
    assert.deepStrictEqual([taken.length, taken.at(-1), taken.at(-2)], [100, "overridden", "k0"])
  })

  it("sends the last changes of all circuits, overrides and their ends as well, when there are new ones", () => {
    const changed = (generation: number, at: number, change: Partial<HistoryEntry> = {}): HistoryEntry => ({
      generation,
      at,
      from: "Closed",
      to: "Closed",
      why: { reason: "a test", actor: "ann" },
      ...change
    })
    const watching = new Watching().list(0, entry("a"), entry("b", OPEN))
    const viewer = new Viewer()
    const shown = (at: number) =>
      watching.update(viewer, at).changes?.map(({ actor, circuit, override, overrideBefore, to }) =>
        [circuit, to, overrideBefore, override, actor].join()
      )
    assert.deepStrictEqual(shown(0), [])
    watching.board.remember("a", [changed(2, 40), changed(1, 20, { override: "Disabled" })])
    watching.board.remember("b", [changed(1, 30, { to: "Open", why: { reason: "5 failures" } })])
    assert.deepStrictEqual(shown(1), ["a,closed,disabled,,ann", "b,open,,,", "a,closed,,disabled,ann"])
    assert.isUndefined(shown(2))
    watching.board.remember("a", Array.from({ length: 30 }, (_, i) => changed(100 - i, 1000 - i)))
    assert.lengthOf(shown(3) ?? [], 20)
  })

  it("keeps the circuits while the storage is away, and says since when", () => {
    const watching = new Watching().list(0, entry("a"))
    const error = new StorageError({ operation: "sync", reason: "Unavailable", cause: "refused" })
    const viewer = new Viewer()
    watching.update(viewer, 0)
    for (const at of [1000, 2000]) watching.board.take({ _tag: "Unavailable", error }, at)
    const { storage, total } = watching.update(viewer, 2000)
    assert.deepStrictEqual([total, storage.reachable, storage.since], [1, false, new Date(1000).toISOString()])
    assert.include(storage.error ?? "", "refused")
  })

  it("names a circuit that cannot be read, until it can", () => {
    const error = new StorageError({ operation: "sync", circuit: "a", reason: "Invalid", cause: "no JSON" })
    const watching = new Watching().list(0, { circuit: "a", result: Result.fail(error) }, entry("b"))
    const viewer = new Viewer()
    assert.deepStrictEqual(watching.update(viewer, 0).unreadable, [{ circuit: "a", reason: "sync: Invalid: no JSON" }])
    watching.change(1, entry("a"))
    assert.deepStrictEqual(watching.update(viewer, 1).unreadable, [])
  })
})
