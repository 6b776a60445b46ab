/** The measurements of one run. */

export interface Result {
  readonly case: string
  readonly contender: string
  /** The time of a call through the contender, minus the time of the bare call. */
  readonly addedNs: number
  readonly bareNs: number
}

export interface MemoryResult {
  readonly case: string
  readonly contender: string
  readonly bytesPerCircuit: number
}

/** The cost of the engine that keeps the circuits of a process in step with the fleet. */
export interface EngineResult {
  readonly case: string
  readonly value: number
  readonly unit: string
}
