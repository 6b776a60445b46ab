/**
 * `ls`: the circuits of a storage. Up to a thousand are sorted; of more, each is printed as it is read, so that the command does
 * not keep them. The list of Redis keeps the names that it has given, because `SCAN` may give one twice.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Entry, StateFilter } from "../../Operator.ts"
import type { Snapshot } from "../../Storage/Storage.ts"
import type { Output } from "../Output.ts"
import { no } from "./Failure.ts"
import { circuitOf } from "./Output.ts"
import { type Flags, print, screen, type Session, storageText, withStorage } from "./Session.ts"
import { type Column, headerOf, isoOf, jsonOf, rowOf, spanOf, widthsOf } from "./Text.ts"
import { leftOf, overrideText, paintOf, stateText } from "./Words.ts"

export interface LsOptions {
  readonly prefix: string
  readonly states: ReadonlyArray<StateFilter> | undefined
  readonly failOn: ReadonlyArray<StateFilter>
}

const MOST_SORTED = 1000

/** Circuits in one write. */
const PAGE = 100

/** Circuits that need attention come first. */
const rankOf = ({ result }: Entry): number => {
  if (Result.isFailure(result)) return 1
  const { override, state } = result.success
  if (override?.kind === "ForcedOpen" || state._tag === "Open") return 0
  if (state._tag === "HalfOpen") return 2
  return override === undefined ? 4 : 3
}

/** Unreadable and not closed circuits come first, then by name. */
export const inOrder = (a: Entry, b: Entry): number =>
  rankOf(a) - rankOf(b) || (a.circuit < b.circuit ? -1 : a.circuit > b.circuit ? 1 : 0)

const fromSnapshot = (f: (snapshot: Snapshot) => string) => ({ result }: Entry): string =>
  Result.isSuccess(result) ? f(result.success) : ""

export const columnsOf = (secrets: ReadonlyArray<string>): ReadonlyArray<Column<Entry>> => [
  { title: "CIRCUIT", text: ({ circuit }) => circuit, least: 12 },
  {
    title: "STATE",
    text: ({ result }) => Result.isSuccess(result) ? stateText(result.success) : "unreadable",
    paint: ({ result }) => Result.isSuccess(result) ? paintOf(result.success) : "red"
  },
  {
    title: "OVERRIDE",
    text: fromSnapshot(({ override }) => override === undefined ? "" : overrideText(override)),
    least: 11
  },
  { title: "LEFT", text: fromSnapshot(leftOf) },
  { title: "SINCE", text: fromSnapshot(({ elapsed }) => elapsed === undefined ? "" : spanOf(elapsed)) },
  { title: "OPENED", text: fromSnapshot(({ lifetime }) => lifetime.opened === 0 ? "" : `${lifetime.opened}×`) },
  {
    title: "WHY",
    text: ({ result }) =>
      Result.isFailure(result)
        ? storageText(result.failure, secrets)
        : result.success.override?.reason ??
          (result.success.state._tag === "Closed" ? "" : result.success.why?.reason ?? ""),
    least: 12
  }
]

const isMatched = (states: ReadonlyArray<StateFilter>, { result }: Entry): boolean =>
  Result.isSuccess(result) &&
  (states.includes(result.success.state._tag) ||
    (result.success.override !== undefined && states.includes(result.success.override.kind)))

export const ls = (flags: Flags, { failOn, prefix, states }: LsOptions) =>
  withStorage(flags, (session) =>
    Effect.gen(function*() {
      let isBad = false
      const write = flags.json ? yield* jsonWriter(session) : yield* tableWriter(session)
      let pending: Array<Entry> | undefined = []
      yield* session.operator.list({ prefix, states }).pipe(
        Stream.grouped(PAGE),
        Stream.runForEach((entries) => {
          isBad ||= entries.some((entry) => isMatched(failOn, entry))
          if (pending === undefined) return write.rows(entries)
          pending.push(...entries)
          if (pending.length <= MOST_SORTED) return Effect.void
          const first = pending
          pending = undefined
          return write.rows(first)
        })
      )
      if (pending !== undefined) yield* write.rows(pending.toSorted(inOrder))
      yield* write.end
      if (isBad) return yield* no
    }))

const tableWriter = (session: Session) =>
  Effect.map(screen, ({ colours, columns: across }) => {
    const columns = columnsOf(session.secrets)
    let widths: ReadonlyArray<number> | undefined
    let count = 0
    return {
      rows: (entries: ReadonlyArray<Entry>) => {
        if (entries.length === 0) return Effect.void
        count += entries.length
        const isFirst = widths === undefined
        widths ??= widthsOf(columns, entries, across)
        const lines = entries.map((entry) => rowOf(columns, widths!, entry, colours))
        return print([...isFirst ? [headerOf(columns, widths, colours)] : [], ...lines].join("\n"))
      },
      end: Effect.suspend(() => count === 0 ? Console.error("No circuits") : Effect.void)
    }
  })

const jsonWriter = (session: Session) =>
  Effect.map(Clock.currentTimeMillis, (at) => {
    let hasBegun = false
    const unreadable: Array<Output.Unreadable> = []
    const head = `{"backend":${jsonOf(session.operator.backend)},"at":"${isoOf(at)}","circuits":[`
    const write = (entries: ReadonlyArray<Entry>, end: string) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const circuits = entries.flatMap(({ circuit, result }) =>
          Result.isSuccess(result) ? [jsonOf(circuitOf({ circuit, snapshot: result.success }, now))] : []
        )
        const text = circuits.length === 0 ? "" : (hasBegun ? ",\n" : "") + circuits.join(",\n")
        hasBegun ||= circuits.length > 0
        return text === "" && end === "" ? Effect.void : print(text + end)
      })
    let isHeadPrinted = false
    const withHead = (entries: ReadonlyArray<Entry>, end: string) =>
      Effect.suspend(() => {
        if (isHeadPrinted) return write(entries, end)
        isHeadPrinted = true
        return Effect.andThen(print(head), write(entries, end))
      })
    return {
      rows: (entries: ReadonlyArray<Entry>) => {
        for (const { circuit, result } of entries) {
          if (Result.isFailure(result)) {
            unreadable.push({ circuit, error: storageText(result.failure, session.secrets) })
          }
        }
        return withHead(entries, "")
      },
      end: Effect.suspend(() => withHead([], `],"unreadable":${jsonOf(unreadable)}}`))
    }
  })
