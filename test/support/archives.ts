/** Moves circuits of every kind from one storage to another, and checks that they are unchanged. */
import { assert, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { author, type Circuit, circuitOf, failures, IGNORED, MINUTE, success } from "../../src/conformance/Law.ts"
import { HOSTILE } from "../../src/conformance/Names.ts"
import { noCounts, noLifetimeCounts } from "../../src/core/Delta.ts"
import * as Export from "../../src/Storage/Export.ts"
import { Storage } from "../../src/Storage/Storage.ts"

/** A kind of storage, with an effect that makes an empty one. A test of another kind needs only one more of these. */
export interface Place {
  readonly name: string
  readonly empty: Effect.Effect<Storage, never, Scope.Scope>
}

const evidence = {
  text: "\"'\\ \u2028 \ud83e\udd86 {tag} ${x} %s",
  numbers: [0, -1, 1.5, 1e21, 123456789.125],
  nested: { list: [{ nothing: null, yes: true }], empty: {} }
}

/** The kinds of circuits, with the requests that make each. */
const kinds: Readonly<Record<string, (circuit: Circuit) => Effect.Effect<unknown, unknown>>> = {
  "never changed, with counts": ({ report }) =>
    report({
      buckets: [{ ...noCounts, age: 0, success: 7, slow: 2 }],
      streak: { leading: 0, sawSuccess: true, trailing: 0 },
      lifetime: { ...noLifetimeCounts, success: 7, slow: 2, lastSuccessAge: 1234.5, lastSuccessDuration: 12.25 },
      hint: 0
    }),
  "ignored and rejected calls alone": ({ report }) =>
    report({ ...failures(0), lifetime: { ...noLifetimeCounts, ignored: 3, rejected: 4 } }),
  "open": ({ open, report }) => Effect.andThen(report(failures(5)), open()),
  "open, with a hint": ({ open, report }) =>
    Effect.andThen(report(failures(5, 2 * MINUTE)), open({ maxOpenFor: 3 * MINUTE })),
  "open, its time up": ({ open }) => open({ openFor: 1 }),
  "open twice, for a part of a millisecond more": ({ open, operate }) =>
    Effect.all([open(), operate({ _tag: "HalfOpen" }), open({ openFor: 2 * MINUTE + 0.25 })]),
  "half-open": ({ operate }) => operate({ _tag: "HalfOpen" }),
  "half-open, a probe running and one done": ({ ask, open, operate, settle }) =>
    Effect.all([
      open(),
      operate({ _tag: "HalfOpen" }),
      ask("a"),
      settle("a", success(2)),
      ask("b"),
      settle("b", IGNORED),
      ask("c")
    ]),
  "closed again, its openings remembered": ({ ask, open, operate, settle }) =>
    Effect.all([open(), operate({ _tag: "HalfOpen" }), ask("a"), settle("a", success())]),
  "closed by hand": ({ open, operate }) => Effect.andThen(open(), operate({ _tag: "Reset" })),
  "removed": ({ open, operate }) => Effect.andThen(open(), operate({ _tag: "Remove" })),
  "forced open without an end": ({ operate }) =>
    operate({ _tag: "Override", kind: "ForcedOpen", reason: "it's \"late\"", actor: "ann \ud83e\udd86" }),
  "open and disabled for an hour": ({ open, operate }) =>
    Effect.andThen(
      open(),
      operate({ _tag: "Override", kind: "Disabled", reason: "", actor: "", remaining: 60 * MINUTE })
    ),
  "half-open and metrics-only": ({ operate }) =>
    Effect.andThen(
      operate({ _tag: "HalfOpen" }),
      operate({ _tag: "Override", kind: "MetricsOnly", reason: "moving", actor: "bo", remaining: 10 * MINUTE })
    ),
  "tripped in metrics-only": ({ operate, read, trip }) =>
    Effect.gen(function*() {
      yield* operate({ _tag: "Override", kind: "MetricsOnly", reason: "drill", actor: "ann" })
      return yield* trip(yield* read, { opening: undefined })
    }),
  "open, with much evidence": ({ read, trip }) =>
    Effect.flatMap(read, (seen) => trip(seen, { ...author, why: { reason: "a \n b", actor: "'; --", evidence } }))
}

/** Includes names that are special only without a prefix. */
const names = [...HOSTILE, "", ".", "..", "{}", " ", "toJSON", "plain"]

/** Fills a storage with circuits of every kind, under every name, and exports it. */
export const filled = Effect.gen(function*() {
  const storage = yield* Storage
  const makers = Object.values(kinds)
  yield* Effect.forEach(names, (name, index) => makers[index % makers.length]!(circuitOf(storage, name)))
  const archive = yield* Export.exportCircuits()
  assert.isAbove(names.length, 2 * makers.length)
  assert.deepStrictEqual(archive.circuits.map(({ name }) => name), names.toSorted())
  return archive
}).pipe(Effect.orDie)

const isTime = (key: string) => /^(remaining|elapsed|hint)$|Age$/.test(key)

/** The snapshot as it would be at another time, without its generation. */
const asOf = (
  time: number,
  { exported_at }: Export.Archive,
  { generation: _, ...snapshot }: Export.ArchivedSnapshot
) => {
  const by = time - Date.parse(exported_at)
  const at = (value: unknown, key: string): unknown => {
    if (typeof value === "number" && isTime(key)) {
      return key === "remaining" || key === "hint" ? Math.max(0, value - by) : value + by
    }
    return typeof value === "object" && value !== null && key !== "why"
      ? Object.fromEntries(Object.entries(value).map(([key, value]) => [key, at(value, key)]))
      : value
  }
  return at(snapshot, "")
}

/** How much times may differ, because a slow machine needs time between two steps. */
const SLACK = 3000

const differs = (a: unknown, b: unknown, path: string): ReadonlyArray<string> => {
  const key = path.slice(path.lastIndexOf(".") + 1)
  if (typeof a === "number" && typeof b === "number") {
    return Math.abs(a - b) <= (isTime(key) ? SLACK : 1e-3) ? [] : [`${path}: ${a} and ${b}`]
  }
  if (typeof a === "object" && a !== null && typeof b === "object" && b !== null) {
    return Object.keys({ ...a, ...b }).flatMap((key) =>
      differs(Reflect.get(a, key), Reflect.get(b, key), `${path}.${key}`)
    )
  }
  return a === b ? [] : [`${path}: ${String(a)} and ${String(b)}`]
}

/**
 * Asserts that two archives have the same circuits. It ignores generations, because each storage assigns its own, and
 * the time between the two exports.
 */
export const assertEqual = (actual: Export.Archive, expected: Export.Archive): void => {
  const time = Math.max(...[actual, expected].map(({ exported_at }) => Date.parse(exported_at)))
  const circuits = (archive: Export.Archive) =>
    Object.fromEntries(archive.circuits.map(({ name, snapshot }) => [`x${name}`, asOf(time, archive, snapshot)]))
  assert.deepStrictEqual(differs(circuits(actual), circuits(expected), ""), [])
}

const importing = (archive: Export.Archive) =>
  Export.importCircuits(JSON.parse(JSON.stringify(archive))).pipe(
    Effect.map((circuits) => Object.entries(Object.groupBy(circuits, ({ result }) => result))),
    Effect.map((results) => results.map(([result, circuits]) => [result, circuits.length]))
  )

/**
 * Tests every pair of places: circuits that are exported from one and imported into the other are unchanged, and a
 * second import changes nothing.
 */
export const exchange = (places: ReadonlyArray<Place>): void => {
  for (const from of places) {
    const tos = places.filter((place) => place !== from)
    it.live(
      `what is exported from ${from.name} comes out of ${tos.map(({ name }) => name).join(", ")} as it was`,
      () =>
        Effect.gen(function*() {
          const archive = yield* Effect.provideServiceEffect(filled, Storage, from.empty)
          const all = archive.circuits.length
          for (const to of tos) {
            yield* Effect.gen(function*() {
              assert.deepStrictEqual(yield* importing(archive), [["Imported", all]], to.name)
              const out = yield* Export.exportCircuits()
              assertEqual(out, archive)
              for (const [index, { snapshot }] of out.circuits.entries()) {
                assert.isAbove(snapshot.generation, archive.circuits[index]!.snapshot.generation)
              }
              assert.deepStrictEqual(yield* importing(archive), [["Unchanged", all]], to.name)
              assert.deepStrictEqual(
                (yield* Export.exportCircuits()).circuits.map(({ snapshot }) => snapshot.generation),
                out.circuits.map(({ snapshot }) => snapshot.generation)
              )
            }).pipe(Effect.provideServiceEffect(Storage, to.empty))
          }
        }),
      120_000
    )
  }
}
