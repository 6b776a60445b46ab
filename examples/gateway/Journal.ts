/** The log lines that the screen shows. */
import { Context, DateTime, Effect, Layer, PubSub, Stream } from "effect"
import * as Registry from "../../src/Registry.ts"

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

/** Notes every change of a circuit of this process. */
export const Transitions = Registry.onEvent((event) =>
  event._tag === "Transition"
    ? Journal.use(({ note }) =>
      note(`${event.circuit}  ${stateInWords[event.from]} -> ${stateInWords[event.to]}: ${event.reason}`)
    )
    : Effect.void
)
