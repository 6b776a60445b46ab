/** The conformance laws, on Node's file system with two storages that take turns, and on a disk in memory. */
import { NodePath } from "@effect/platform-node"
import { describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { liveSleep } from "../../src/conformance/Law.ts"
import { folderOf } from "../../src/file/FolderName.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as FileStorage from "../../src/Storage/File.ts"
import { Storage } from "../../src/Storage/Storage.ts"
import { retryWhenLate, scaledMillis } from "../support/machine.ts"
import { DIRECTORY, Disk } from "./disk.ts"
import {
  before,
  build,
  capabilities,
  failure,
  freshDirectory,
  removeEmptyDirectory,
  rewrite,
  rewritten
} from "./support.ts"

describe("conformance: files, by two processes", () => {
  const directory = freshDirectory()
  let isDown = false
  const fileSystem = before((method, path) =>
    Effect.suspend(() => isDown ? Effect.fail(failure(method, path, "EIO")) : Effect.void)
  )

  /** Reads the test clock but sleeps in real time, because a write that lost a race waits for a real disk. */
  const live = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.flatMap(Clock.Clock, (clock) =>
      Effect.provideService(effect, Clock.Clock, {
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        currentTimeMillis: clock.currentTimeMillis,
        currentTimeNanos: clock.currentTimeNanos,
        monotonicTimeNanos: clock.monotonicTimeNanos,
        sleep: (duration) => liveSleep(Duration.toMillis(duration))
      }))

  /** Two storages on one directory. Requests go to one and to the other in turns. */
  const inTurns = (options: FileStorage.Options): Layer.Layer<Storage> =>
    Layer.effect(
      Storage,
      Effect.gen(function*() {
        const one = build(FileStorage.layer({ directory, removeEmptyDirectory, ...options }))
        const storages = [yield* one, yield* one] as const
        let turn = 0
        const next = () => storages[turn++ % 2 === 0 ? 0 : 1]
        return {
          ...storages[0],
          sync: (reports) => live(Effect.suspend(() => next().sync(reports))),
          change: (circuit, change) => live(Effect.suspend(() => next().change(circuit, change))),
          probe: (circuit, probe) => live(Effect.suspend(() => next().probe(circuit, probe))),
          history: (circuit, options) => live(Effect.suspend(() => next().history(circuit, options)))
        }
      })
    ).pipe(Layer.provide([fileSystem, NodePath.layer]))

  const laws = Conformance.laws({
    capabilities,
    layer: inTurns,
    advance: TestClock.adjust,
    maxBlocking: scaledMillis(250),
    rewrite: (circuit, f) => Effect.sync(() => rewrite(directory, circuit, f)),
    outage: Effect.acquireRelease(
      Effect.sync(() => {
        isDown = true
      }),
      () =>
        Effect.sync(() => {
          isDown = false
        })
    )
  })
  for (const law of laws) it.effect(law.name, () => retryWhenLate(law.check))
})

describe("conformance: files, on a disk in memory", () => {
  const lawsOn = (disk: Disk) =>
    Conformance.laws({
      capabilities,
      layer: (options) =>
        Layer.provide(
          FileStorage.layer({ directory: DIRECTORY, removeEmptyDirectory: disk.removeEmptyDirectory, ...options }),
          disk.layer
        ),
      advance: TestClock.adjust,
      maxBlocking: scaledMillis(250),
      rewrite: (circuit, f) =>
        Effect.sync(() => {
          const folder = `${DIRECTORY}/${folderOf(circuit)}/`
          const versions = Object.entries(disk.files()).flatMap(([path, text]) =>
            path.startsWith(folder) ? [{ path, text, number: parseInt(path.slice(folder.length)) }] : []
          )
          const { path, text } = versions.toSorted((a, b) => b.number - a.number)[0]!
          disk.put(path, rewritten(text, f))
        }),
      outage: Effect.acquireRelease(
        Effect.sync(() => {
          disk.before = ({ method, path }) => Effect.fail(failure(method, path, "EIO"))
        }),
        () =>
          Effect.sync(() => {
            disk.before = () => Effect.yieldNow
          })
      )
    })
  for (const [index, { name }] of lawsOn(new Disk()).entries()) {
    it.effect(name, () => {
      const disk = new Disk()
      disk.before = () => Effect.yieldNow
      return retryWhenLate(lawsOn(disk)[index]!.check)
    })
  }
})
