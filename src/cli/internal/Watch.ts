/**
 * `watch`: a live table that fills the terminal, or a line for each change where there is no terminal.
 *
 * **Invariants**
 *
 * - The terminal is put back as it was however the command ends.
 * - A screen is drawn at most once in `DRAW_MILLIS`, however many circuits change, and only the rows on it are laid out.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import type { Entry, Watched } from "../../Operator.ts"
import type { Snapshot } from "../../Storage/Storage.ts"
import type { Output } from "../Output.ts"
import { columnsOf, inOrder } from "./Ls.ts"
import { changeOf } from "./Output.ts"
import { type Flags, print, screen, type Session, storageText, withStorage } from "./Session.ts"
import { cut, headerOf, isoOf, jsonOf, nameOf, painted, rowOf, safe, timeOf, widthsOf } from "./Text.ts"
import { wordOf } from "./Words.ts"

export const watch = (flags: Flags, prefix: string) =>
  withStorage(
    flags,
    (session) =>
      Effect.flatMap(screen, ({ canAsk, isTerminal }) =>
        isTerminal && !flags.json ? live(session, prefix, canAsk) : lines(flags, session, prefix))
  )

// -----------------------------------------------------------------------------
// the live table
// -----------------------------------------------------------------------------

const DRAW_MILLIS = 250

/** Remaining times count down once a second. */
const REFRESH_MILLIS = 1000

interface Shown extends Entry {
  readonly readAt: number
}

/** The content of the table, and the part of it that is shown. */
interface Board {
  readonly circuits: Map<string, Shown>
  trouble: string | undefined
  /** The first row on the screen. */
  top: number
  isStale: boolean
}

const received = (board: Board, watched: Watched, readAt: number, secrets: ReadonlyArray<string>): void => {
  board.isStale = true
  if (watched._tag === "Unavailable") {
    board.trouble = storageText(watched.error, secrets)
    return
  }
  board.trouble = undefined
  if (watched._tag === "Listed") board.circuits.clear()
  for (const entry of watched.entries) board.circuits.set(entry.circuit, { ...entry, readAt })
}

/** The snapshot some time after it was read, if nothing has happened meanwhile. */
const later = (snapshot: Snapshot, millis: number): Snapshot => {
  const { elapsed, override, state } = snapshot
  const left = (remaining: number) => Math.max(0, remaining - millis)
  return {
    ...snapshot,
    elapsed: elapsed === undefined ? undefined : elapsed + millis,
    override: override?.remaining === undefined ? override : { ...override, remaining: left(override.remaining) },
    state: state._tag === "Open" ? { ...state, remaining: left(state.remaining) } : state
  }
}

const summaryOf = (board: Board): string => {
  const counts = new Map<string, number>()
  for (const { result } of board.circuits.values()) {
    if (Result.isFailure(result)) counts.set("unreadable", (counts.get("unreadable") ?? 0) + 1)
    else {
      const { override, state } = result.success
      const word = override === undefined ? wordOf(state._tag) : wordOf(override.kind)
      counts.set(word, (counts.get(word) ?? 0) + 1)
    }
  }
  return [...counts].toSorted(([a], [b]) => a < b ? -1 : 1).map(([word, count]) => `${count} ${word}`).join(", ")
}

interface Size {
  readonly columns: number
  readonly rows: number
}

const bottomOf = (board: Board, { rows }: Size): number => Math.max(0, board.circuits.size - (rows - 3))

/** The lines of a screen: a heading, the header of the table, its rows, and what the keys do. */
const drawn = (
  board: Board,
  session: Session,
  now: number,
  size: Size & { readonly colours: boolean }
): ReadonlyArray<string> => {
  const { colours, columns: across, rows } = size
  board.top = Math.min(board.top, bottomOf(board, size))
  const circuits = [...board.circuits.values()].toSorted(inOrder).slice(board.top, board.top + Math.max(0, rows - 3))
  const entries = circuits.map(({ readAt, ...entry }): Entry => ({
    ...entry,
    result: Result.map(entry.result, (snapshot) => later(snapshot, now - readAt))
  }))
  const columns = columnsOf(session.secrets)
  const widths = widthsOf(columns, entries, across)
  const heading = board.trouble ??
    `${session.operator.backend}: ${board.circuits.size === 0 ? "no circuits" : summaryOf(board)}`
  const last = board.top + entries.length
  return [
    painted(cut(`${timeOf(now)}  ${heading}`, across), board.trouble === undefined ? "bold" : "red", colours),
    headerOf(columns, widths, colours),
    ...entries.map((entry) => rowOf(columns, widths, entry, colours)),
    painted(
      cut(
        `${board.circuits.size === 0 ? 0 : board.top + 1}–${last} of ${board.circuits.size}   ↑↓ scroll   q quit`,
        across
      ),
      "dim",
      colours
    )
  ]
}

const ESCAPE = "\u001b"
/** The other screen, without a cursor; and back. */
const ENTER = `${ESCAPE}[?1049h${ESCAPE}[?25l`
const LEAVE = `${ESCAPE}[?25h${ESCAPE}[?1049l`
const HOME = `${ESCAPE}[H`
/** Before a line, because after one that is as wide as the terminal it would clear the last character. */
const CLEAR_LINE = `${ESCAPE}[2K`
const BELOW = `${ESCAPE}[J`

const live = (session: Session, prefix: string, hasKeys: boolean) =>
  Effect.gen(function*() {
    const terminal = yield* Terminal.Terminal
    const { colours } = yield* screen
    const display = (text: string) => terminal.display(text).pipe(Effect.catch(() => Effect.interrupt))
    const board: Board = { circuits: new Map(), trouble: undefined, top: 0, isStale: true }
    const size = Effect.gen(function*() {
      const [columns, rows] = [yield* terminal.columns, yield* terminal.rows]
      return { columns: columns > 0 ? columns : 80, rows: rows > 0 ? rows : 24, colours }
    })
    const follow = Stream.runForEach(
      session.operator.watch({ prefix }),
      (watched) => Effect.map(Clock.currentTimeMillis, (now) => received(board, watched, now, session.secrets))
    )
    let drawnAt = -Infinity
    const draw = Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      if (!board.isStale && now - drawnAt < REFRESH_MILLIS) return
      board.isStale = false
      drawnAt = now
      const lines = drawn(board, session, now, yield* size)
      yield* display(`${HOME}${lines.map((line) => CLEAR_LINE + line).join("\r\n")}${BELOW}`)
    }).pipe(Effect.andThen(Effect.sleep(DRAW_MILLIS)), Effect.forever)
    const keys = hasKeys ? scrolled(terminal, board, size) : Effect.never
    yield* Effect.acquireUseRelease(
      display(ENTER),
      () => Effect.raceFirst(Effect.raceFirst(follow, draw), keys),
      () => Effect.ignore(terminal.display(LEAVE))
    )
  })

/** Moves the table by the keys that are typed, until one of them ends the command. */
const scrolled = (terminal: Terminal.Terminal, board: Board, size: Effect.Effect<Size>): Effect.Effect<void> =>
  Effect.scoped(Effect.gen(function*() {
    const input = yield* terminal.readInput
    while (true) {
      const { key } = yield* Queue.take(input)
      if (key.name === "q") return
      const current = yield* size
      const page = current.rows - 3
      const by = new Map([["up", -1], ["k", -1], ["down", 1], ["j", 1], ["pageup", -page], ["pagedown", page]]).get(
        key.name
      )
      const to = key.name === "home" ? 0 : key.name === "end" ? Infinity : board.top + (by ?? 0)
      board.top = Math.max(0, Math.min(to, bottomOf(board, current)))
      board.isStale = true
    }
    // The queue ends with Escape and Ctrl-C.
  })).pipe(Effect.catchCause(() => Effect.void))

// -----------------------------------------------------------------------------
// a line for each change
// -----------------------------------------------------------------------------

/** Circuits whose history is read at once. */
const CONCURRENCY = 8
const MOST_CHANGES = 20

/** The change between two snapshots, where the storage keeps no history: who made it is only known of an override. */
const changeBetween = (circuit: string, before: Snapshot | undefined, after: Snapshot, now: number): Output.Change =>
  changeOf(circuit, {
    generation: after.generation,
    at: now,
    from: before?.state._tag ?? "Closed",
    to: after.state._tag,
    override: after.override?.kind,
    why: before?.override?.kind === after.override?.kind || after.override === undefined
      ? after.why ?? { reason: "not known" }
      : { reason: after.override.reason, actor: after.override.actor }
  })

const wordsOf = ({ actor, at, circuit, from, override, reason, to }: Output.Change): string => {
  const word = (state: string) => state.replace("_", "-")
  const change = from === to ? word(to) : `${word(from)} → ${word(to)}`
  const by = actor === null ? "" : ` (${safe(actor)})`
  return `${at.slice(0, 19)}Z ${nameOf(circuit)} ${change}${override === null ? "" : `, ${word(override)}`}: ${
    safe(reason)
  }${by}`
}

const lines = (flags: Flags, { operator, secrets }: Session, prefix: string) => {
  const known = new Map<string, Snapshot>()
  let hasListed = false
  let isAway = false
  const changesOf = (circuit: string, snapshot: Snapshot) =>
    Effect.gen(function*() {
      const before = known.get(circuit)
      known.set(circuit, snapshot)
      if (snapshot.generation === (before?.generation ?? 0) || !hasListed) return []
      if (!operator.capabilities.history) {
        return [changeBetween(circuit, before, snapshot, yield* Clock.currentTimeMillis)]
      }
      const entries = yield* operator.history(circuit, { limit: MOST_CHANGES })
      return entries.filter(({ generation }) =>
        generation > (before?.generation ?? 0) && generation <= snapshot.generation
      )
        .toReversed().map((entry) => changeOf(circuit, entry))
    })
  const write = (watched: Watched) => {
    if (watched._tag === "Unavailable") {
      const first = !isAway
      isAway = true
      return first ? Console.error(storageText(watched.error, secrets)) : Effect.void
    }
    return Effect.gen(function*() {
      if (isAway) yield* Console.error(`${isoOf(yield* Clock.currentTimeMillis)} ${operator.backend} answers again`)
      isAway = false
      const changes = yield* Effect.forEach(
        watched.entries,
        ({ circuit, result }) => Result.isSuccess(result) ? changesOf(circuit, result.success) : Effect.succeed([]),
        { concurrency: CONCURRENCY }
      )
      if (watched._tag === "Listed") forget(known, watched.entries)
      hasListed = true
      const text = changes.flat().toSorted((a, b) => a.generation - b.generation)
        .map((change) => flags.json ? jsonOf(change) : wordsOf(change))
      if (text.length > 0) yield* print(text.join("\n"))
    })
  }
  return Stream.runForEach(operator.watch({ prefix }), write)
}

const forget = (known: Map<string, Snapshot>, listed: ReadonlyArray<Entry>): void => {
  const names = new Set(listed.map(({ circuit }) => circuit))
  for (const circuit of known.keys()) {
    if (!names.has(circuit)) known.delete(circuit)
  }
}
