/** What an `Operator` does on every storage. */
import { assert, it } from "@effect/vitest"
import { Effect, Option, Queue, Result, Stream } from "effect"
import { circuitOf, failures, MINUTE } from "../../src/conformance/Law.ts"
import { HOSTILE } from "../../src/conformance/Names.ts"
import * as Operator from "../../src/Operator.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import type { Place } from "./archives.ts"

/** Runs a test on an empty storage of each kind, in real time. */
const each = (
  places: ReadonlyArray<Place>,
  name: string,
  body: (on: { readonly storage: Storage; readonly operator: Operator.Operator }) => Effect.Effect<void, unknown>
) => {
  for (const place of places) {
    it.live(`${place.name}: ${name}`, () =>
      Effect.gen(function*() {
        const storage = yield* place.empty
        yield* body({ storage, operator: yield* Effect.provideService(Operator.make(), Storage, storage) })
      }).pipe(Effect.scoped))
  }
}

const namesOf = (entries: ReadonlyArray<Operator.Entry>) => entries.map(({ circuit }) => circuit).toSorted()

/** The elements of a stream as they come, without those of another kind. */
const listen = (watch: ReturnType<Operator.Operator["watch"]>) =>
  Effect.gen(function*() {
    const queue = yield* Queue.unbounded<Operator.Watched>()
    yield* Effect.forkChild(Stream.runForEach(watch, (element) => Queue.offer(queue, element)))
    const next = (is: (element: Operator.Watched) => boolean): Effect.Effect<Operator.Watched> =>
      Effect.flatMap(Queue.take(queue), (element) => is(element) ? Effect.succeed(element) : next(is))
    return next
  })

const shows = (circuit: string, is: (entry: Operator.Entry) => boolean) => (element: Operator.Watched) =>
  element._tag !== "Unavailable" && element.entries.some((entry) => entry.circuit === circuit && is(entry))

const isForced = ({ result }: Operator.Entry) =>
  Result.isSuccess(result) && result.success.override?.kind === "ForcedOpen"

export const operators = (places: ReadonlyArray<Place>) => {
  each(
    places,
    "lists circuits with their states, by prefix and by state, and writes nothing",
    ({ operator, storage }) =>
      Effect.gen(function*() {
        const [a, b, c, d] = ["shop/a", "shop/b", "shop/c", "other"].map((name) => circuitOf(storage, name))
        yield* a!.open()
        yield* b!.operate({ _tag: "HalfOpen" })
        yield* c!.report(failures(2))
        yield* d!.operate({ _tag: "Override", kind: "Disabled", reason: "noise", actor: "ann", remaining: MINUTE })
        const listed = (options?: Operator.ListOptions) =>
          Effect.map(Stream.runCollect(operator.list(options)), namesOf)
        const read = Effect.map(a!.read, ({ generation, lifetime }) => [generation, lifetime.failure])
        const before = yield* read
        assert.deepStrictEqual(yield* listed(), ["other", "shop/a", "shop/b", "shop/c"])
        assert.deepStrictEqual(yield* listed({ prefix: "shop/" }), ["shop/a", "shop/b", "shop/c"])
        assert.deepStrictEqual(yield* listed({ states: ["Open", "HalfOpen"] }), ["shop/a", "shop/b"])
        assert.deepStrictEqual(yield* listed({ states: ["Disabled"] }), ["other"])
        assert.deepStrictEqual(yield* listed({ prefix: "shop/", states: ["Closed"] }), ["shop/c"])
        assert.isTrue(Option.isNone(yield* operator.get("shop/z")))
        assert.strictEqual(Option.getOrThrow(yield* operator.get("shop/a")).snapshot.state._tag, "Open")
        assert.deepStrictEqual(yield* listed(), ["other", "shop/a", "shop/b", "shop/c"])
        assert.deepStrictEqual(yield* read, before)
      })
  )

  each(places, "counts over spans are the storage's", ({ operator, storage }) =>
    Effect.gen(function*() {
      yield* circuitOf(storage, "a").report(failures(3))
      const { snapshot } = Option.getOrThrow(yield* operator.get("a", { withins: ["30 seconds", "10 hours"] }))
      assert.deepStrictEqual(snapshot.totals.map(({ failure }) => failure), [3, 0])
    }))

  each(
    places,
    "acts on a circuit, shows it before and after, and keeps who did it",
    ({ operator, storage }) =>
      Effect.gen(function*() {
        yield* circuitOf(storage, "a").open()
        const forced = yield* operator.override("a", { mode: "ForcedOpen", reason: "it moves", actor: "ann" })
        assert.deepStrictEqual([forced.done, forced.before.snapshot.override], [true, undefined])
        assert.deepInclude(forced.after.snapshot.override, { kind: "ForcedOpen", reason: "it moves", actor: "ann" })
        const cleared = yield* operator.clearOverride("a", { actor: "bo" })
        assert.deepStrictEqual([cleared.done, cleared.after.snapshot.override], [true, undefined])
        const again = yield* operator.clearOverride("a", { actor: "bo" })
        assert.deepStrictEqual(
          [again.done, again.after.snapshot.generation],
          [false, cleared.after.snapshot.generation]
        )
        const { after: probing } = yield* operator.halfOpen("a", { actor: "cy", reason: "try it" })
        assert.strictEqual(probing.snapshot.state._tag, "HalfOpen")
        const { after: reset } = yield* operator.reset("a", { actor: "di" })
        assert.deepStrictEqual([reset.snapshot.state._tag, reset.snapshot.openings], ["Closed", 0])
        yield* operator.override("a", { mode: "Disabled", reason: "drill", actor: "ed", expiresIn: "1 hour" })
        const { after: removed } = yield* operator.remove("a", { actor: "fy" })
        assert.deepStrictEqual([removed.snapshot.override, removed.snapshot.lifetime.opened], [undefined, 0])
        const history = yield* operator.history("a", { limit: 3 })
        assert.deepStrictEqual(
          history.map(({ override, why }) => [why.actor, override]),
          operator.capabilities.history ? [["fy", undefined], ["ed", "Disabled"], ["di", undefined]] : []
        )
      })
  )

  each(places, "refuses a name that nobody uses, and leaves nothing behind", ({ operator }) =>
    Effect.gen(function*() {
      const acts = [
        operator.override("typo", { mode: "ForcedOpen", reason: "x", actor: "ann" }),
        operator.clearOverride("typo", { actor: "ann" }),
        operator.halfOpen("typo", { actor: "ann" }),
        operator.reset("typo", { actor: "ann" }),
        operator.remove("typo", { actor: "ann" })
      ]
      for (const act of acts) {
        const error = yield* Effect.flip(act)
        assert.deepStrictEqual([error.reason, error.circuit], ["Denied", "typo"])
        assert.include(error.message, "nobody uses a circuit of this name")
      }
      assert.deepStrictEqual(yield* Stream.runCollect(operator.list()), [])
      yield* operator.override("new", { mode: "MetricsOnly", reason: "x", actor: "ann", create: true })
      assert.deepStrictEqual(namesOf(yield* Stream.runCollect(operator.list())), ["new"])
      const reserved = yield* Effect.flip(operator.reset("__effect_breaker/migration/x", { actor: "ann" }))
      assert.strictEqual(reserved.reason, "Denied")
    }))

  each(places, "takes every well-formed name", ({ operator }) =>
    Effect.gen(function*() {
      for (const name of HOSTILE) {
        yield* operator.override(name, { mode: "ForcedOpen", reason: "x", actor: "ann", create: true })
      }
      assert.deepStrictEqual(namesOf(yield* Stream.runCollect(operator.list())), HOSTILE.toSorted())
      for (const name of HOSTILE) assert.isTrue(Option.isSome(yield* operator.get(name)), JSON.stringify(name))
      assert.strictEqual((yield* Effect.flip(operator.get("\ud800"))).reason, "Invalid")
    }))

  each(
    places,
    "follows changes as they are made, and circuits that come",
    ({ operator, storage }) =>
      Effect.gen(function*() {
        yield* circuitOf(storage, "shop/a").report(failures(1))
        const next = yield* listen(operator.watch({ prefix: "shop/", every: "100 millis" }))
        const first = yield* next(() => true)
        assert.deepStrictEqual([first._tag, first._tag === "Listed" && namesOf(first.entries)], ["Listed", ["shop/a"]])
        yield* operator.override("shop/a", { mode: "ForcedOpen", reason: "x", actor: "ann" })
        yield* next(shows("shop/a", isForced))
        yield* circuitOf(storage, "elsewhere").open()
        yield* circuitOf(storage, "shop/b").open()
        const seen = yield* next(shows("shop/b", () => true))
        assert.isFalse(shows("elsewhere", () => true)(seen))
      })
  )

  each(
    places,
    "a change is read at once where the storage pushes, else after the interval",
    ({ operator, storage }) =>
      Effect.gen(function*() {
        const { pushes } = operator.capabilities
        yield* circuitOf(storage, "a").report(failures(1))
        const next = yield* listen(operator.watch({ every: pushes ? "1 hour" : "100 millis" }))
        yield* next(({ _tag }) => _tag === "Listed")
        // After the subscription everything is read once more, so that no change is missed in between.
        yield* next(({ _tag }) => _tag === "Listed")
        yield* operator.override("a", { mode: "ForcedOpen", reason: "x", actor: "ann" })
        const changed = yield* next(shows("a", isForced))
        assert.strictEqual(changed._tag, pushes ? "Changed" : "Listed")
      })
  )
}
