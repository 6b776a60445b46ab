/** The parts that commands share: the storage that the flags name, the terminal, and messages of errors. */
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { isTagged } from "effect/Predicate"
import * as Stdio from "effect/Stdio"
import * as Terminal from "effect/Terminal"
import { layer as operatorLayer, Operator, type Operator as OperatorService } from "../../Operator.ts"
import { isStorageError, Storage, type StorageError } from "../../Storage/Storage.ts"
import { CliFailure, exitCodes, usage } from "./Failure.ts"
import { findStorage, type Found, type Making, type StorageFlags } from "./StorageUrl.ts"
import { safe } from "./Text.ts"

/** The flags of all commands. */
export interface Flags extends StorageFlags {
  readonly json: boolean
  readonly yes: boolean
  readonly deadlineMillis: number
}

/** The storage that `run` was given, in place of one that is named. */
export const GivenStorage = Context.Reference<Layer.Layer<Storage, unknown> | undefined>(
  "effect-breaker/cli/GivenStorage",
  { defaultValue: () => undefined }
)

// -----------------------------------------------------------------------------
// errors
// -----------------------------------------------------------------------------

const LONGEST_CAUSE = 500

const causeOf = (cause: unknown): string => {
  if (typeof cause === "string") return cause
  if (!(cause instanceof Error)) return ""
  const { cause: inner, message } = cause
  const others = cause instanceof AggregateError ? cause.errors : inner === undefined ? [] : [inner]
  return [message, ...others.map(causeOf)].filter((text) => text !== "").join(": ")
}

/** The error and its cause on one line, without secrets. */
export const storageText = (error: StorageError, secrets: ReadonlyArray<string>): string => {
  const why = causeOf(error.cause)
  const text = why === "" || error.message.includes(why) ? error.message : `${error.message}: ${why}`
  const hidden = secrets.reduce((text, secret) => text.replaceAll(secret, "***"), text)
  return safe(hidden.slice(0, LONGEST_CAUSE))
}

export const storageFailure = (error: StorageError, secrets: ReadonlyArray<string>): CliFailure =>
  new CliFailure({
    code: error.reason === "Denied" ? exitCodes.refused : exitCodes.storage,
    text: storageText(error, secrets)
  })

/** The text of a `ConfigError` names the classes around what is wrong, and the variable on a line of its own. */
const configText = ({ cause }: Config.ConfigError): string =>
  causeOf(cause).replaceAll(/^(.*)\n +at \["(\w+)"\]$/gm, "$2: $1")

/** A storage or a driver that cannot be used. */
export const layerFailure = (error: unknown, secrets: ReadonlyArray<string>): CliFailure => {
  if (isStorageError(error)) return storageFailure(error, secrets)
  const text = (isTagged(error, "ConfigError") ? configText(error as Config.ConfigError) : causeOf(error)) ||
    String(error)
  return usage(safe(secrets.reduce((text, secret) => text.replaceAll(secret, "***"), text)))
}

// -----------------------------------------------------------------------------
// the storage
// -----------------------------------------------------------------------------

export interface Session {
  readonly operator: OperatorService
  readonly storage: Storage
  readonly secrets: ReadonlyArray<string>
}

export const foundStorage = (flags: StorageFlags, making: Making): Effect.Effect<Found, CliFailure> =>
  Effect.flatMap(GivenStorage, (given) =>
    given === undefined
      ? Effect.mapError(findStorage(flags, making), (error) =>
        error._tag === "CliFailure" ? error : layerFailure(error, []))
      : Effect.succeed<Found>({
        name: "the given storage",
        layer: given as Layer.Layer<Storage, Config.ConfigError>,
        secrets: []
      }))

/** Runs a command on the storage that the flags name. */
export const withStorage = <A, R>(
  flags: Flags,
  use: (session: Session) => Effect.Effect<A, StorageError | CliFailure, R>,
  making: Making = { create: false }
): Effect.Effect<A, CliFailure, R> =>
  Effect.flatMap(foundStorage(flags, making), ({ layer, secrets }) =>
    Effect.scoped(
      Effect.gen(function*() {
        const both = Layer.provideMerge(operatorLayer({ deadline: Duration.millis(flags.deadlineMillis) }), layer)
        const context = yield* Effect.mapError(Layer.build(both), (error) => layerFailure(error, secrets))
        const session = { operator: Context.get(context, Operator), storage: Context.get(context, Storage), secrets }
        return yield* Effect.mapError(
          use(session),
          (error) => error._tag === "StorageError" ? storageFailure(error, secrets) : error
        )
      })
    ))

// -----------------------------------------------------------------------------
// the terminal
// -----------------------------------------------------------------------------

/** How wide lines are where there is no terminal. */
const COLUMNS_WITHOUT_TERMINAL = 240

export interface Screen {
  readonly isTerminal: boolean
  /** Whether somebody can be asked. */
  readonly canAsk: boolean
  readonly columns: number
  readonly colours: boolean
}

export const screen: Effect.Effect<Screen, never, Stdio.Stdio | Terminal.Terminal> = Effect.gen(function*() {
  const { stdinIsTerminal, stdoutIsTerminal } = yield* Stdio.Stdio
  const terminal = yield* Terminal.Terminal
  const isTerminal = yield* stdoutIsTerminal
  const columns = isTerminal ? yield* terminal.columns : 0
  const { canColor } = yield* TerminalCapabilities.TerminalCapabilities
  return {
    isTerminal,
    canAsk: isTerminal && (yield* stdinIsTerminal),
    columns: columns > 0 ? columns : COLUMNS_WITHOUT_TERMINAL,
    colours: canColor
  }
})

/** Writes text to stdout, and waits until it is taken. Nobody reads any more: then the command ends. */
export const print = (text: string): Effect.Effect<void, never, Terminal.Terminal> =>
  Effect.flatMap(
    Terminal.Terminal,
    ({ display }) => display(`${text}\n`).pipe(Effect.catch(() => Effect.interrupt))
  )
