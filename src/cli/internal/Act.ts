/** The commands that change a circuit. Each asks first, or needs `--yes` where nobody can be asked. */
import * as Prompt from "effect/cli/Prompt"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { userInfo } from "node:os"
import { NO_SUCH_CIRCUIT } from "../../core/Change.ts"
import type { Acted, Operator, OverrideOptions } from "../../Operator.ts"
import type { StorageError } from "../../Storage/Storage.ts"
import type { Output } from "../Output.ts"
import { refused } from "./Failure.ts"
import { circuitOf } from "./Output.ts"
import { type Flags, print, screen, withStorage } from "./Session.ts"
import { linesOf } from "./Show.ts"
import { jsonOf, nameOf, safe, spanOf } from "./Text.ts"
import { overrideText, stateText } from "./Words.ts"

const userName = Effect.sync(() => {
  try {
    return userInfo().username
  } catch {
    // A container may run under a number that no user has.
    return `uid ${process.getuid?.() ?? "unknown"}`
  }
})

/** The name of who acts: as given, else `EFFECT_BREAKER_ACTOR`, else the user's. */
export const actorOf = (given: Option.Option<string>): Effect.Effect<string> =>
  Option.match(given, {
    onSome: Effect.succeed,
    onNone: () => Config.String("EFFECT_BREAKER_ACTOR").pipe(Effect.catch(() => userName))
  })

/** Asks whether to go on. Fails with `refused` where the answer is no, or where nobody can be asked. */
export const confirmed = (flags: Flags, what: string, about: (colours: boolean) => ReadonlyArray<string>) =>
  Effect.gen(function*() {
    if (flags.yes) return
    const { canAsk, colours } = yield* screen
    if (!canAsk || flags.json) {
      return yield* refused(
        `Nothing was done: give --yes to ${what}, because ${
          flags.json ? "--json does not ask" : "there is no terminal to ask on"
        }`
      )
    }
    yield* print(about(colours).join("\n"))
    const question = Prompt.Confirm({ message: `${what[0]!.toUpperCase()}${what.slice(1)}?`, initial: false })
    const isYes = yield* Effect.catchTag(Prompt.run(question), "QuitError", () => Effect.succeed(false))
    if (!isYes) return yield* refused("Nothing was done")
  })

/** An act in the words of a question: `force "payments" open`. */
interface Act {
  readonly what: string
  /** Whether a circuit without a record is acted on, too. */
  readonly creates: boolean
  readonly run: (operator: Operator, actor: string, isNew: boolean) => Effect.Effect<Acted, StorageError>
}

const act = (flags: Flags, circuit: string, actor: Option.Option<string>, { creates, run, what }: Act) =>
  withStorage(flags, ({ operator }) =>
    Effect.gen(function*() {
      const name = yield* actorOf(actor)
      const found = yield* operator.get(circuit)
      const isNew = Option.isNone(found)
      if (isNew && !creates) return yield* refused(`${nameOf(circuit)}: ${NO_SUCH_CIRCUIT.replace(/, or say.*/, "")}`)
      yield* confirmed(flags, what, (colours) =>
        Option.isSome(found)
          ? linesOf(found.value, colours)
          : [`Nobody uses a circuit ${nameOf(circuit)} on ${operator.backend}: check the name`])
      const acted = yield* run(operator, name, isNew)
      if (flags.json) {
        const now = yield* Clock.currentTimeMillis
        const output: Output.Acted = {
          done: acted.done,
          before: circuitOf(acted.before, now),
          after: circuitOf(acted.after, now)
        }
        return yield* print(jsonOf(output))
      }
      yield* print(
        `${nameOf(circuit)}: ${sayOf(acted.after.snapshot, (span) => `for ${span}`)}${
          acted.done
            ? `, was ${sayOf(acted.before.snapshot, (span) => `with ${span} left`)}`
            : ", as before: there was nothing to do"
        }`
      )
    }))

const sayOf = (snapshot: Acted["after"]["snapshot"], until: (span: string) => string): string => {
  const { override } = snapshot
  if (override === undefined) return stateText(snapshot)
  const { remaining } = override
  return `${safe(overrideText(override))} ${remaining === undefined ? "until cleared" : until(spanOf(remaining))}`
}

export interface ActorFlag {
  readonly actor: Option.Option<string>
  readonly reason: Option.Option<string>
}

const reasonOf = ({ reason }: ActorFlag) =>
  Option.match(reason, { onNone: () => ({}), onSome: (reason) => ({ reason }) })

const overrideWords = { ForcedOpen: "force open", Disabled: "disable", MetricsOnly: "set to metrics only" } as const

export const override = (
  flags: Flags,
  circuit: string,
  options: Omit<OverrideOptions, "actor" | "create" | "expiresIn"> & {
    readonly actor: Option.Option<string>
    readonly forMillis: number | undefined
  }
) =>
  act(flags, circuit, options.actor, {
    what: `${overrideWords[options.mode]} ${nameOf(circuit)}${
      options.forMillis === undefined ? " until it is cleared" : ` for ${spanOf(options.forMillis)}`
    }`,
    creates: true,
    run: (operator, actor, isNew) =>
      operator.override(circuit, {
        mode: options.mode,
        reason: options.reason,
        actor,
        expiresIn: options.forMillis,
        create: isNew
      })
  })

export const clear = (flags: Flags, circuit: string, by: ActorFlag) =>
  act(flags, circuit, by.actor, {
    what: `lift the override of ${nameOf(circuit)}`,
    creates: false,
    run: (operator, actor) => operator.clearOverride(circuit, { actor, ...reasonOf(by) })
  })

export const halfOpen = (flags: Flags, circuit: string, by: ActorFlag) =>
  act(flags, circuit, by.actor, {
    what: `let ${nameOf(circuit)} take probes now`,
    creates: false,
    run: (operator, actor) => operator.halfOpen(circuit, { actor, ...reasonOf(by) })
  })

export const reset = (flags: Flags, circuit: string, by: ActorFlag) =>
  act(flags, circuit, by.actor, {
    what: `close ${nameOf(circuit)} and forget its openings`,
    creates: false,
    run: (operator, actor) => operator.reset(circuit, { actor, ...reasonOf(by) })
  })

export const remove = (flags: Flags, circuit: string, by: ActorFlag) =>
  act(flags, circuit, by.actor, {
    what: `remove ${nameOf(circuit)} with its override and its counts`,
    creates: false,
    run: (operator, actor) => operator.remove(circuit, { actor, ...reasonOf(by) })
  })
