/**
 * One of several storages, guarded by the machine that guards a circuit's calls: each request ends within its own deadline,
 * and one that is known to be sick is asked nothing, but for one request now and then by which it shows that it is back.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { Machine, type Permit, type Plan } from "../core/Machine.ts"
import { type Snapshot, type Storage, StorageError, type Synced } from "../Storage/Storage.ts"

/** After so many failures in a row a storage is left alone. */
const FAILURES = 3
/** For how long, the first time; twice as long with each further one. */
const FIRST = 1000
const LONGEST = 30_000
/** So many requests may go on that were interrupted, before no further one is made. */
const MOST_ABANDONED = 16

const planOf = (deadline: number): Plan => ({
  rule: { _tag: "ConsecutiveFailures", failures: FAILURES },
  windows: [],
  openFor: (opening) => Math.min(LONGEST, FIRST * 2 ** (opening - 1)),
  maxOpenFor: LONGEST,
  slowerThan: undefined,
  probes: 1,
  successes: 1,
  lease: deadline + 1000,
  ramp: 0
})

type Outcome = "Success" | "Failure" | "Ignored"

class Guard extends Machine {
  readonly #turned: (state: "Closed" | "Open") => void

  constructor(plan: Plan, turned: (state: "Closed" | "Open") => void) {
    super(plan, false)
    this.#turned = turned
  }

  protected override changing({ from, to }: { readonly from: string; readonly to: string }): void {
    if (to === "Closed" || (from === "Closed" && to === "Open")) this.#turned(to as "Closed" | "Open")
  }
}

export class Guarded {
  readonly storage: Storage
  readonly #clock: Clock.Clock
  readonly #context: Context.Context<never>
  readonly #guard: Guard
  #abandoned = 0
  #failure: StorageError | undefined = undefined

  /** Whether it is asked even when it is sick, for there is no other. */
  readonly #isLast: boolean

  /** `turned` is told when it is left alone, and when it is back. */
  constructor(
    storage: Storage,
    isLast: boolean,
    clock: Clock.Clock,
    context: Context.Context<never>,
    longest: number,
    turned: (hop: Guarded, state: "Closed" | "Open") => void
  ) {
    this.storage = storage
    this.#isLast = isLast
    this.#clock = clock
    this.#context = context
    this.#guard = new Guard(planOf(longest), (state) => turned(this, state))
  }

  get isSick(): boolean {
    return this.#guard.state !== "Closed"
  }

  /** What the newest request failed with; `undefined` where that was answered. */
  get failure(): StorageError | undefined {
    return this.#failure
  }

  /** Monotonic milliseconds. */
  now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** The storage for whoever waits for each of its answers no longer than so many milliseconds. */
  within(millis: number): Asked {
    const ask = <A>(operation: string, request: (storage: Storage) => Effect.Effect<A, StorageError>) =>
      Effect.mapError(this.attempt(operation, millis, request, isError), ({ error }) => error)
    return {
      backend: this.storage.backend,
      idleTimeToLive: this.storage.idleTimeToLive,
      sync: (reports) =>
        ask("sync", (storage) => Effect.map(storage.sync(reports), (synced) => sensible(synced, reports.length))),
      change: (circuit, change) =>
        ask("change", (storage) => Effect.map(storage.change(circuit, change), (changed) => told(changed)))
    }
  }

  /**
   * Makes a request, unless it is of no use, and waits for it no longer than so many milliseconds, whatever the storage does.
   * Whoever dies has not answered. `failed` says of an answer or a refusal what it says of the storage.
   */
  attempt<A>(
    operation: string,
    millis: number,
    request: (storage: Storage) => Effect.Effect<A, StorageError>,
    failed: (answer: A | StorageError) => boolean
  ): Effect.Effect<A, Failed> {
    return Effect.suspend(() => {
      const admitted = this.#guard.admit(this.now())
      if ((typeof admitted === "string" && !this.#isLast) || this.#abandoned >= MOST_ABANDONED) {
        if (typeof admitted !== "string") this.#settle(admitted, "Failure")
        return Effect.fail(
          new Failed(
            false,
            new StorageError({ operation, reason: "Unavailable", cause: "it failed before, and is left alone" })
          )
        )
      }
      const settle = (outcome: Outcome): void => {
        if (typeof admitted !== "string") this.#settle(admitted, outcome)
        else if (outcome === "Success" && this.isSick) this.#guard.reset(this.now())
      }
      return Effect.callback<A, Failed>((resume) => {
        let waits = true
        const end = (exit: Exit.Exit<A, StorageError> | undefined): void => {
          if (!waits) return
          waits = false
          const answer = exit?._tag === "Success" ? exit.value : errorOf(operation, millis, exit?.cause)
          const hasFailed = failed(answer)
          this.#failure = hasFailed && answer instanceof StorageError ? answer : undefined
          settle(hasFailed ? "Failure" : "Success")
          resume(answer instanceof StorageError ? Effect.fail(new Failed(true, answer)) : Effect.succeed(answer))
        }
        const fiber = Effect.runForkWith(this.#context)(Effect.suspend(() => request(this.storage)))
        const exit = fiber.pollUnsafe()
        if (exit !== undefined) return end(exit)
        const timer = Effect.runForkWith(this.#context)(
          Effect.andThen(
            this.#clock.sleep(Duration.millis(millis)),
            Effect.sync(() => {
              // Nobody waits for whoever cannot be interrupted.
              end(undefined)
              this.#abandoned++
              fiber.addObserver(() => this.#abandoned--)
              fiber.interruptUnsafe()
            })
          )
        )
        fiber.addObserver((exit) => {
          timer.interruptUnsafe()
          end(exit)
        })
        return Effect.sync(() => {
          if (waits) settle("Ignored")
          waits = false
          timer.interruptUnsafe()
          fiber.interruptUnsafe()
        })
      })
    })
  }

  #settle(permit: Permit, outcome: Outcome): void {
    this.#guard.settle(permit, this.now(), { outcome, slow: false, timeout: false, hint: 0 })
  }
}

/** The answer, if it is one. */
export const told = <A extends { readonly snapshot: Snapshot }>(answer: A): A => {
  if (Number.isFinite(answer.snapshot.generation)) return answer
  throw new TypeError("the answer makes no sense")
}

/** The answers, if they are as many as were asked for. */
export const sensible = (answers: ReadonlyArray<Synced>, asked: number): ReadonlyArray<Synced> => {
  if (answers.length !== asked) throw new TypeError(`${answers.length} answers to ${asked} reports`)
  for (const { result } of answers) if (Result.isSuccess(result)) told(result.success)
  return answers
}

/** Whether it says that the storage could not be asked, and not that it made no sense of one circuit. */
export const isUnreached = ({ reason }: StorageError): boolean => reason !== "Invalid"

const isError = (answer: unknown): boolean => answer instanceof StorageError && isUnreached(answer)

/** What is carried between storages by. */
export type Asked = Pick<Storage, "backend" | "idleTimeToLive" | "sync" | "change">

/** Why there is no answer, and whether the storage was asked at all: what was asked for may have been done. */
export class Failed {
  readonly asked: boolean
  readonly error: StorageError

  constructor(asked: boolean, error: StorageError) {
    this.asked = asked
    this.error = error
  }
}

const errorOf = (operation: string, millis: number, cause: Cause.Cause<StorageError> | undefined): StorageError => {
  if (cause === undefined) {
    return new StorageError({ operation, reason: "Deadline", cause: `no answer within ${Math.round(millis)} ms` })
  }
  const error = Cause.squash(cause)
  return error instanceof StorageError ? error : new StorageError({ operation, reason: "Unavailable", cause: error })
}
