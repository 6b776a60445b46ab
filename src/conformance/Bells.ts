/** Laws of `bells`, and of the alerts that reports begin. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Announcement, Bells, Storage } from "../Storage/Storage.ts"
import { is, near, Range, SLACK_MILLIS, unchanged, unmet } from "./Claim.ts"
import { type Definition, eventually, failures, law, MINUTE } from "./Law.ts"

const BELLS = { bells: true, fences: true } as const

const poll = (storage: Storage, since: number | undefined) =>
  storage.bells === undefined
    ? unmet("bells", "an operation, because capabilities.bells is true", "none")
    : storage.bells(since)

/** The bell of a circuit in a poll; `undefined` for none. */
const told = ({ rung }: Bells, circuit: string): unknown =>
  rung === "all" ? rung : rung.find((one) => one.circuit === circuit)

export const bells: ReadonlyArray<Definition> = [
  law(
    "a change rings, and so does an alert; a report that suspects nothing rings nothing",
    BELLS,
    function*({ another, capabilities, circuit, storage, unit, wait }) {
      const other = capabilities.shared ? yield* another : storage
      const first = yield* poll(other, undefined)
      yield* is("a poll without a time", first.rung, "all")
      const [reported, suspected, changed] = [circuit("reported"), circuit("suspected"), circuit("'; {*}\n🦆")]
      yield* reported.report(failures(2))
      yield* suspected.report(failures(2), { suspect: MINUTE })
      const { snapshot } = yield* changed.open()
      const second = yield* poll(other, first.now)
      yield* is("the epoch", second.epoch, first.epoch)
      yield* is("a report", told(second, reported.name), undefined)
      yield* is("a report that suspects a trip", told(second, suspected.name), {
        generation: 0,
        alert: { remaining: new Range(MINUTE / 2, MINUTE + SLACK_MILLIS), since: new Range(0, MINUTE / 2) }
      })
      yield* is("a change", told(second, changed.name), { generation: snapshot.generation, alert: undefined })
      yield* is("when it rang last", second.lastRungAt, new Range(first.now - SLACK_MILLIS, second.now + SLACK_MILLIS))
      yield* wait(unit)
      const third = yield* poll(other, second.now + unit / 2)
      yield* is("of what rang before", [told(third, suspected.name), told(third, changed.name)], [undefined, undefined])
      yield* suspected.report(failures(1), { suspect: 2 * MINUTE })
      const fourth = yield* poll(other, third.now)
      yield* is("an alert that is made longer", told(fourth, suspected.name), undefined)
      yield* is("a poll of more than a minute ago", (yield* poll(other, fourth.now - 2 * MINUTE)).rung, "all")
    }
  ),

  law(
    "an alert begins with a suspicion, is made longer by the next, and ends by itself or with its generation",
    BELLS,
    function*({ circuit, unit, wait }) {
      const it = circuit()
      const { snapshot: calm } = yield* it.report(failures(3))
      yield* is("no alert", calm.alert, undefined)
      yield* is(
        "one of another generation",
        (yield* it.send({ generation: 5, suspect: MINUTE })).snapshot.alert,
        undefined
      )
      const { snapshot: called } = yield* it.send({ generation: 0, suspect: 4 * unit })
      yield* is("a suspicion without outcomes", called, {
        alert: { remaining: near(4 * unit), since: near(0) },
        streak: 3,
        members: 1
      })
      yield* wait(2 * unit)
      const { snapshot: longer } = yield* it.report(failures(1), { suspect: 4 * unit })
      yield* is("the next", longer.alert, { remaining: near(4 * unit), since: new Range(2 * unit, MINUTE) })
      const { snapshot: shorter } = yield* it.send({ instance: "b", generation: 0, suspect: unit })
      yield* unchanged("a shorter one", shorter, longer)
      yield* wait(4 * unit)
      yield* is("at its end", (yield* it.read).alert, undefined)
      const { snapshot: again } = yield* it.send({ generation: 0, suspect: MINUTE })
      yield* is("one after that", again.alert?.since, near(0))
      const { snapshot: opened } = yield* it.open()
      yield* is("in the next generation", opened.alert, undefined)
      const { snapshot: open } = yield* it.send({ generation: opened.generation, suspect: MINUTE })
      yield* is("while Open", open.alert, undefined)
      const absent = circuit("never written")
      yield* absent.send({ generation: 0, suspect: MINUTE })
      yield* is("a circuit that was never written", (yield* absent.read).alert, undefined)
    },
    { timed: true }
  ),

  law(
    "an alert is announced once",
    { ...BELLS, pushes: true },
    function*(subject) {
      const { another, capabilities, circuit, storage } = subject
      const listener = capabilities.shared ? yield* another : storage
      const announced: Array<Announcement> = []
      yield* listener.changes.pipe(
        Stream.runForEach((announcement) => Effect.sync(() => announced.push(announcement))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* eventually(subject, "the first announcement", () => announced[0], { _tag: "Subscribed" })
      const it = circuit()
      const mine = () => announced.filter((one) => one._tag === "Changed" && one.circuit === it.name)
      yield* it.report(failures(2), { suspect: MINUTE })
      yield* it.report(failures(2), { suspect: MINUTE })
      yield* it.open()
      yield* eventually(subject, "whether the opening is announced", () => mine().length > 1, true)
      yield* is("all announcements", mine(), [
        { _tag: "Changed", generation: 0, alert: { remaining: new Range(MINUTE / 2, MINUTE + SLACK_MILLIS) } },
        { _tag: "Changed", alert: undefined }
      ])
    }
  )
]
