/** The log lines that the screen shows. */
import { Context, DateTime, Effect, Layer, PubSub, Stream } from "effect"
import * as Registry from "../../src/Registry.ts"
import { percent } from "./Shop.ts"

export class Journal extends Context.Service<Journal, {
  readonly note: (text: string) => Effect.Effect<void>
  /** The latest lines, then new ones as they come. */
  readonly lines: Stream.Stream<string>
}>()("gateway/Journal") {
  static readonly layer = Layer.effect(
    Journal,
    Effect.gen(function*() {
      const lines = yield* PubSub.sliding<string>({ capacity: 128, replay: 50 })
      return Journal.of({
        note: (text) => Effect.flatMap(timeOfDay, (time) => PubSub.publish(lines, `${time}  ${text}`)),
        lines: Stream.fromPubSub(lines)
      })
    })
  )
}

export const timeOfDay: Effect.Effect<string> = Effect.map(
  DateTime.now,
  DateTime.formatLocal({ timeStyle: "medium", locale: "en-GB" })
)

export const stateInWords = { Closed: "CLOSED", Open: "OPEN", HalfOpen: "HALF-OPEN" } as const

/** Notes every change of a circuit of this process, and when it begins and ends to shed calls. */
export const Changes = Registry.onEvent((event) => {
  switch (event._tag) {
    case "Transition":
      return noteOf(event.circuit, `${stateInWords[event.from]} -> ${stateInWords[event.to]}: ${event.reason}`)
    case "Throttling":
      return noteOf(
        event.circuit,
        event.share > 0 ? `sheds ${percent(event.share)} of its calls` : "sheds no more calls"
      )
    default:
      return Effect.void
  }
})

const noteOf = (circuit: string, text: string) => Journal.use(({ note }) => note(`${circuit}  ${text}`))
