/** Laws of names: every well-formed text is a name of its own. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { is, show } from "./Claim.ts"
import { circuitOf, type Definition, FENCED, ignored, law, MINUTE, reading, reasonOf } from "./Law.ts"

export const HOSTILE = [
  ["__proto__", "constructor", "toString", "\0", "a\0", "a", "A", "a ", " a", "a\t", "n".repeat(10_000)],
  ["🦆", "\u202e", "\ufeff", "e\u0301", "\u00e9", "\u212b", "\u00c5", "ss", "\u00df", "i", "\u0131", "I"],
  ["'; drop table circuits; --", "\"", "`", "\\", "\\'", "$1", "?", "%", "_", "${x}", "%00", "%41"],
  ["{tag}", "{", "}", "}{", "{}x", "*", "a*", "[a-z]", "a?", "^a", "\n", "\r\n", "a\nb", "a\r\nb"],
  ["/", "../../a", "a/b", "a\\b", "a:b", "a~b", "a|b", "a,b", "a;b", "a=b", "a&b", "#a", "CON", "a.", ".json"]
].flat()

/** Names that are special only without a prefix. */
const BARE = ["", "__proto__", ".", "..", "/", "{}", " "]

export const names: ReadonlyArray<Definition> = [
  law("every well-formed text is a circuit's name, distinct from all others", FENCED, function*({ circuit, storage }) {
    const all = [...HOSTILE.map((text) => circuit(text).name), ...BARE]
    const instance = `names ${circuit().name}`
    const read = Effect.map(
      storage.sync(all.map((name) => reading(name, instance))),
      (answers) => answers.map(({ result }) => Result.isSuccess(result) ? result.success.snapshot : result.failure)
    )
    const count = (views: Effect.Success<typeof read>) =>
      views.map((view) => view instanceof Error ? view.reason : view.lifetime.ignored)
    const before = yield* read
    yield* storage.sync(
      all.map((name, index) => {
        const view = before[index]!
        const generation = view instanceof Error ? 0 : view.generation
        return { ...reading(name, instance), generation, delta: ignored(index + 1) }
      })
    )
    const [was, now] = [count(before), count(yield* read)]
    for (const [index, name] of all.entries()) {
      const counted = typeof was[index] === "number" && typeof now[index] === "number"
        ? now[index] - was[index]
        : now[index]
      yield* is(`the count of ${show(name)}`, counted, index + 1)
    }
  }),

  law(
    "a name that is not well-formed is Invalid, and does not fail its batch",
    FENCED,
    function*({ circuit, storage }) {
      const good = circuit("good").name
      for (const bad of ["\ud800", "a\udfffb", `${good}\ud800`]) {
        const answers = yield* storage.sync([bad, good].map((name) => reading(name, "a")))
        yield* is(
          `sync of ${show(bad)} beside a good name`,
          answers.map(({ result }) => Result.isSuccess(result) ? "a view" : result.failure.reason),
          ["Invalid", "a view"]
        )
        const it = circuitOf(storage, bad)
        const seen = yield* circuit("good").read
        const operations = {
          trip: it.trip(seen),
          operate: it.operate({ _tag: "Reset" }),
          ask: storage.probe(bad, {
            _tag: "Ask",
            lease: { instance: "a", sequence: 1 },
            generation: 0,
            duration: MINUTE,
            probes: 1
          }),
          history: storage.history(bad)
        }
        for (const [operation, effect] of Object.entries(operations)) {
          yield* is(`${operation} of ${show(bad)}`, yield* reasonOf(effect), "Invalid")
        }
      }
    }
  )
]
