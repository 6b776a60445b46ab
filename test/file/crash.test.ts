/** Power cuts at ten thousand moments. Every acknowledged write survives, and the surviving files are usable. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { circuitOf, failures, times } from "../../src/conformance/Law.ts"
import * as FileStorage from "../../src/Storage/File.ts"
import type { Storage, StorageError } from "../../src/Storage/Storage.ts"
import { Rng } from "../../src/testing/internal/Random.ts"
import { clockAt, DIRECTORY, Disk, storageOn, type Weakness } from "./disk.ts"
import { failure } from "./support.ts"

const CIRCUITS = ["payments", "A", "a/b"]

const START = 1_700_000_000_000

/** The acknowledged state of one circuit, and the requests that are not answered yet. */
interface Known {
  readonly failures: number
  readonly pending: number
  readonly generation: number
  readonly state: string
  readonly override: boolean
  readonly opened: number
  readonly changing: number
}

const nothing: Known = {
  failures: 0,
  pending: 0,
  generation: 0,
  state: "Closed",
  override: false,
  opened: 0,
  changing: 0
}

class Ledger {
  #known = new Map<string, Known>()

  get = (circuit: string): Known => this.#known.get(circuit) ?? nothing

  note(circuit: string, change: (known: Known) => Partial<Known>): void {
    const known = this.get(circuit)
    this.#known.set(circuit, { ...known, ...change(known) })
  }

  copy(): Ledger {
    const copy = new Ledger()
    copy.#known = new Map(this.#known)
    return copy
  }
}

type Circuit = ReturnType<typeof circuitOf>

let sequence = 0

const report = (ledger: Ledger, it: Circuit) => {
  ledger.note(it.name, ({ pending }) => ({ pending: pending + 1 }))
  // Sent again with the same sequence after a failure, as a breaker does: the first may have been counted.
  const sent = it.send({ instance: `i${++sequence % 5}`, sequence, delta: failures(1) })
  return Effect.map(Effect.retry(sent, { times: 2 }), () => {
    ledger.note(it.name, ({ failures, pending }) => ({ failures: failures + 1, pending: pending - 1 }))
  })
}

/**
 * Sends a change, and notes it if it was committed. Of changes that run at once, the one with the highest generation is
 * the latest.
 */
const change = (ledger: Ledger, it: Circuit, rng: Rng) => {
  ledger.note(it.name, ({ changing }) => ({ changing: changing + 1 }))
  const changed = rng.weighted([
    [3, Effect.flatMap(it.read, (seen) => it.trip(seen))],
    [1, it.operate({ _tag: "Reset" })],
    [1, it.operate({ _tag: "Override", kind: "ForcedOpen", reason: "test", actor: "ann" })],
    [1, it.operate({ _tag: "ClearOverride" })],
    [1, it.operate({ _tag: "HalfOpen" })]
  ])
  return Effect.map(changed, ({ committed, snapshot }) => {
    ledger.note(it.name, (known) => ({
      changing: known.changing - 1,
      ...committed && snapshot.generation > known.generation
        ? {
          generation: snapshot.generation,
          state: snapshot.state._tag,
          override: snapshot.override !== undefined,
          opened: snapshot.lifetime.opened
        }
        : {}
    }))
  })
}

const probe = (it: Circuit) => Effect.andThen(it.ask("a"), Effect.ignore(it.settle("a", { _tag: "Ignored" })))

interface Crash {
  readonly disk: Disk
  readonly ledger: Ledger
}

/**
 * Runs random operations on random circuits, two at a time. Keeps a crashed copy of the disk after some of the steps.
 */
const history = (seed: number, crashesPerStep: number, weakness?: Weakness) =>
  Effect.gen(function*() {
    const rng = new Rng(seed)
    const disk = new Disk()
    const ledger = new Ledger()
    const crashes: Array<Crash> = []
    disk.weakness = weakness
    disk.cut = (length) => rng.int(0, length)
    const troubles = rng.pick([0, 0.01])
    disk.before = ({ method, path }) =>
      rng.chance(troubles)
        ? Effect.fail(failure(method, path, rng.pick(["ENOSPC", "EIO", "EMFILE"])))
        : Effect.repeat(Effect.yieldNow, { times: rng.chance(0.05) ? 80 : 0 })
    disk.after = () => {
      if (rng.chance(crashesPerStep)) crashes.push({ disk: disk.crash(rng), ledger: ledger.copy() })
    }
    const backups = rng.pick([0, 1, 3])
    const storages = yield* Effect.forEach(times(rng.int(1, 2)), () => storageOn(disk, { backups }))
    yield* Effect.forEach(times(rng.int(4, 14)), () =>
      Effect.suspend(() => {
        const it = circuitOf(rng.pick(storages), rng.pick(CIRCUITS))
        const operation = rng.weighted<Effect.Effect<unknown, unknown>>([
          [6, report(ledger, it)],
          [4, change(ledger, it, rng)],
          [1, probe(it)]
        ])
        return Effect.ignore(operation)
      }), { concurrency: 2, discard: true })
    crashes.push({ disk: disk.crash(rng), ledger })
    return crashes
  }).pipe(Effect.scoped, clockAt(START).provide)

/** The differences between a crashed disk and the ledger of the same moment. */
const faultsOf = ({ disk, ledger }: Crash) =>
  Effect.gen(function*() {
    const storage: Storage = yield* storageOn(disk)
    const faults: Array<string> = []
    for (const name of CIRCUITS) {
      const it = circuitOf(storage, name)
      const known = ledger.get(name)
      const read = yield* Effect.result(it.read)
      if (Result.isFailure(read)) {
        faults.push(`${name} is not there: ${String((read.failure as StorageError).cause)}`)
        continue
      }
      const { generation, lifetime, override, state } = read.success
      const expect = (what: string, isSo: boolean) => {
        if (!isSo) faults.push(`${name}: ${what}: ${JSON.stringify({ known, generation, lifetime, state })}`)
      }
      expect("failures", lifetime.failure >= known.failures && lifetime.failure <= known.failures + known.pending)
      expect("generation", generation >= known.generation && (known.changing > 0 || generation === known.generation))
      expect("openings", lifetime.opened >= known.opened)
      if (generation === known.generation) {
        expect("state", state._tag === known.state && (override !== undefined) === known.override)
      }
      if (name !== CIRCUITS[0]) continue
      const again = yield* Effect.result(report(ledger.copy(), it))
      const after = yield* Effect.result(it.read)
      expect(
        "one more",
        Result.isSuccess(again) && Result.isSuccess(after) && after.success.lifetime.failure === lifetime.failure + 1
      )
    }
    const { circuits } = yield* Effect.provide(FileStorage.report({ directory: DIRECTORY }), disk.layer)
    for (const { damaged } of circuits) for (const { file, why } of damaged) faults.push(`${file}: ${why}`)
    return faults
  }).pipe(Effect.scoped, clockAt(START + 10_000).provide)

describe("a power cut", () => {
  it("a power cut at any of ten thousand moments loses nothing that was answered", async () => {
    let moments = 0
    for (let seed = 1; moments < 10_000; seed++) {
      for (const crash of await Effect.runPromise(history(seed, 0.12))) {
        moments++
        const faults = await Effect.runPromise(faultsOf(crash))
        assert.deepEqual(faults, [], `seed ${seed}`)
      }
    }
  })

  const weaknesses: ReadonlyArray<Weakness> = [
    "no flush of files",
    "no flush of directories",
    "a link before the flush",
    "written in place"
  ]
  for (const weakness of weaknesses) {
    it(`the power-cut test finds a loss when files are written with this weakness: ${weakness}`, async () => {
      for (let seed = 1; seed < 200; seed++) {
        for (const crash of await Effect.runPromise(history(seed, 0.12, weakness))) {
          if ((await Effect.runPromise(faultsOf(crash))).length > 0) return
        }
      }
      assert.fail("nothing was found")
    })
  }
})
