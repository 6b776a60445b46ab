/** `migrate`: moves circuits from the storage of the command to another one, in the phases of `Storage/Migration`. */
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { make, type Migration, type MigrationError, type Phase, type Progress } from "../../Storage/Migration.ts"
import type { StorageError } from "../../Storage/Storage.ts"
import { confirmed } from "./Act.ts"
import { CliFailure, exitCodes, no } from "./Failure.ts"
import { type Flags, print, type Session, storageFailure, withStorage } from "./Session.ts"
import { jsonOf, nameOf, safe } from "./Text.ts"

export interface MigrateFlags {
  readonly to: string
  readonly name: string
}

const MOST_NAMED = 20

/** A migration between both storages, as its services have it. */
const withMigration = <A, R>(
  flags: Flags,
  { name, to }: MigrateFlags,
  create: boolean,
  use: (
    migration: Migration,
    sessions: { readonly from: Session; readonly to: Session }
  ) => Effect.Effect<A, StorageError | CliFailure, R>
) =>
  withStorage(flags, (from) =>
    withStorage({ ...flags, storage: Option.some(to) }, (to) =>
      Effect.scoped(
        Effect.flatMap(
          make({ from: from.storage, to: to.storage, name, deadline: Duration.millis(flags.deadlineMillis) }),
          ({ migration }) => use(migration, { from, to })
        )
      ), { create }))

export const phase = (flags: Flags, options: MigrateFlags) =>
  withMigration(flags, options, false, (migration, { from, to }) =>
    Effect.gen(function*() {
      const phase = SubscriptionRef.getUnsafe(migration.phase)
      yield* print(
        flags.json
          ? jsonOf({ name: options.name, from: from.operator.backend, to: to.operator.backend, phase })
          : `${nameOf(options.name)}, from ${from.operator.backend} to ${to.operator.backend}: ${phase}`
      )
    }))

const refusedSwitch = (error: MigrationError): CliFailure =>
  new CliFailure({
    code: exitCodes.refused,
    text: [safe(error.message), ...error.circuits.slice(0, MOST_NAMED).map((circuit) => `  ${nameOf(circuit)}`)].join(
      "\n"
    )
  })

export const switchTo = (flags: Flags, options: MigrateFlags, next: Phase) =>
  withMigration(flags, options, true, (migration, { to }) =>
    Effect.gen(function*() {
      const before = SubscriptionRef.getUnsafe(migration.phase)
      yield* confirmed(flags, `switch all instances from ${before} to ${next}`, () => [
        `The migration ${nameOf(options.name)} is in the phase ${before}`
      ])
      yield* migration.switchTo(next).pipe(
        Effect.mapError((error) =>
          error._tag === "MigrationError" ? refusedSwitch(error) : storageFailure(error, to.secrets)
        )
      )
      yield* print(
        flags.json
          ? jsonOf({ name: options.name, before, phase: next })
          : `${nameOf(options.name)}: ${next}, was ${before}`
      )
    }))

const progressLine = ({ carried, circuits, failed, newer, short }: Progress): string =>
  [
    `${circuits} circuits compared`,
    `${carried} carried`,
    ...newer === 0 ? [] : [`${newer} newer there`],
    ...short === 0 ? [] : [`${short} with counts under way`],
    ...failed.length === 0 ? [] : [`${failed.length} failed`]
  ].join(", ")

const BAR = 30

const barOf = (done: number, all: number): string => {
  const full = all === 0 ? BAR : Math.min(BAR, Math.floor(BAR * done / all))
  return `[${"█".repeat(full)}${" ".repeat(BAR - full)}]`
}

export const backfill = (flags: Flags, options: MigrateFlags) =>
  withMigration(flags, options, true, (migration, { from }) =>
    Effect.gen(function*() {
      yield* confirmed(flags, "bring all circuits of the storage that does not decide up to date", () => [
        `The migration ${nameOf(options.name)} is in the phase ${SubscriptionRef.getUnsafe(migration.phase)}`
      ])
      const { stderrIsTerminal } = yield* Stdio.Stdio
      const isShown = yield* stderrIsTerminal
      const all = isShown ? yield* Stream.runCount(from.operator.list()) : 0
      const last = yield* migration.backfill.pipe(
        Stream.tap((progress) =>
          isShown ? Console.error(`${barOf(progress.circuits, all)} ${progressLine(progress)}`) : Effect.void
        ),
        Stream.runLast
      )
      const progress = Option.getOrElse(
        last,
        (): Progress => ({ circuits: 0, carried: 0, newer: 0, short: 0, failed: [] })
      )
      yield* print(
        flags.json
          ? jsonOf(progress)
          : [
            progressLine(progress),
            ...progress.failed.slice(0, MOST_NAMED).map((circuit) => `  failed: ${nameOf(circuit)}`)
          ].join("\n")
      )
      if (progress.failed.length > 0) return yield* no
    }))

export const compare = (flags: Flags, options: MigrateFlags) =>
  withMigration(flags, options, false, (migration) =>
    Effect.gen(function*() {
      const { circuits, differences, failed } = yield* migration.compare
      const lines = [
        ...differences.slice(0, MOST_NAMED).map(({ circuit, what }) => `${nameOf(circuit)}: ${what.join(", ")}`),
        ...differences.length > MOST_NAMED ? [`and ${differences.length - MOST_NAMED} more`] : [],
        ...failed.slice(0, MOST_NAMED).map((circuit) => `${nameOf(circuit)}: unreadable`),
        `${circuits} circuits, ${differences.length} differ${
          failed.length === 0 ? "" : `, ${failed.length} unreadable`
        }`
      ]
      yield* print(
        flags.json
          ? jsonOf({ circuits, differences: differences.map(({ circuit, what }) => ({ circuit, what })), failed })
          : lines.join("\n")
      )
      if (differences.length + failed.length > 0) return yield* no
    }))
