/**
 * The phase of a migration as all instances agree on it: the override of a circuit that this library reserves, kept in
 * both storages, with a generation like any change.
 *
 * Invariants
 *
 * - `#generation` only grows. A snapshot of an older generation does not change the phase.
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as SubscriptionRef from "effect/SubscriptionRef"
import { RESERVED_PREFIX } from "../../core/Reserved.ts"
import type { Log } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import type { Snapshot, StorageError } from "../../Storage/Storage.ts"
import type { FusedStorage, TimedStorage } from "../FusedStorage.ts"
import { reading, reconcile } from "../Reconcile.ts"
import { isPhase, type Phase } from "./Models.ts"
import type { Sides } from "./Sides.ts"

/** How long an instance waits for both storages. */
export const PATIENCE_MILLIS = 1000

export class PhaseRecord {
  /** The circuit that holds the phase. */
  readonly circuit: string
  readonly phase: SubscriptionRef.SubscriptionRef<Phase>
  readonly #sides: Sides
  readonly #log: Log
  #generation = 0

  private constructor(circuit: string, phase: SubscriptionRef.SubscriptionRef<Phase>, sides: Sides, log: Log) {
    this.circuit = circuit
    this.phase = phase
    this.#sides = sides
    this.#log = log
  }

  static make(name: string, initial: Phase, sides: Sides, log: Log): Effect.Effect<PhaseRecord> {
    return Effect.map(
      SubscriptionRef.make<Phase>(initial),
      (phase) => new PhaseRecord(`${RESERVED_PREFIX}migration/${name}`, phase, sides, log)
    )
  }

  get current(): Phase {
    return SubscriptionRef.getUnsafe(this.phase)
  }

  /** Takes over the phase of a snapshot, if that is newer. */
  receive({ generation, override }: Snapshot): Effect.Effect<void> {
    return Effect.suspend(() => {
      const phase = override?.reason
      if (generation <= this.#generation || !isPhase(phase)) return Effect.void
      this.#generation = generation
      if (phase === this.current) return Effect.void
      this.#log(messages.phaseChanged, { phase })
      return SubscriptionRef.set(this.phase, phase)
    })
  }

  /** Reads the phase from both storages. A storage that does not answer is left out. */
  get readBoth(): Effect.Effect<ReadonlyArray<Result.Result<void, StorageError>>> {
    const { from, to } = this.#sides
    return Effect.all([from, to].map((storage) => Effect.result(this.#read(storage.within(PATIENCE_MILLIS)))), {
      concurrency: 2
    })
  }

  #read(storage: TimedStorage): Effect.Effect<void, StorageError> {
    return Effect.flatMap(
      storage.sync([reading(this.circuit)]),
      ([answer]) => Effect.flatMap(Effect.fromResult(answer!.result), ({ snapshot }) => this.receive(snapshot))
    )
  }

  /** Writes the next phase to the storage that decides, and then to the other. */
  publish(next: Phase, leader: FusedStorage): Effect.Effect<void, StorageError> {
    const { deadlineMillis, from, to } = this.#sides
    const [deciding, other] = (leader === from ? [from, to] : [to, from]).map((side) => side.within(deadlineMillis))
    return Effect.gen({ self: this }, function*() {
      const { snapshot } = yield* deciding!.change(this.circuit, {
        _tag: "Operation",
        id: `${next} after ${this.#generation}`,
        known: this.#generation,
        why: { reason: next },
        to: { _tag: "Override", kind: "Disabled", reason: next, actor: "migration" }
      })
      yield* this.receive(snapshot)
      // An instance that missed a phase may read the other storage.
      const [reconciled] = yield* reconcile(deciding!, other!, [this.circuit], "from")
      yield* Effect.fromResult(reconciled!.result)
    })
  }
}
