/** How the errors of storages are made and read, by all who send requests. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Result from "effect/Result"
import { type Change, NO_SUCH_CIRCUIT, REFUSED_OPERATION } from "../core/Change.ts"
import { isBlank, type Snapshot } from "../core/Record.ts"
import { isStorageError, StorageError, type Synced } from "../Storage/Storage.ts"

/** A request, as its errors name it. */
export interface RequestName {
  readonly operation: string
  readonly circuit?: string | undefined
}

export const failure = (
  { circuit, operation }: RequestName,
  reason: StorageError["reason"],
  cause: unknown
): StorageError => new StorageError({ operation, ...(circuit === undefined ? {} : { circuit }), reason, cause })

const INTERRUPTED = "the request was interrupted before the storage answered"

/**
 * The error of a request that failed. A storage that dies, or interrupts itself, is `Unavailable` and never `Invalid`:
 * `Invalid` is a lasting verdict on one circuit, on which pending reports are dropped and no other storage is tried. A
 * defect says nothing about a circuit. The storage has not answered.
 */
export const errorOf = (request: RequestName, cause: Cause.Cause<unknown>): StorageError => {
  if (Cause.hasInterruptsOnly(cause)) return failure(request, "Unavailable", INTERRUPTED)
  const error = Cause.squash(cause)
  try {
    return isStorageError(error) ? error : failure(request, "Unavailable", error)
  } catch {
    return failure(request, "Unavailable", "an error that throws when it is read")
  }
}

export const deadlineExceeded = (request: RequestName, millis: number): StorageError =>
  failure(request, "Deadline", `no answer within ${Math.round(millis)} ms`)

/** The error of an operator's change that a storage refused; `snapshot` is the view that it refused it on. */
export const operationDenied = (circuit: string, change: Change, snapshot: Snapshot): StorageError => {
  const isMissing = change._tag === "Operation" && change.existing === true && isBlank(snapshot)
  return failure({ operation: "change", circuit }, "Denied", isMissing ? NO_SUCH_CIRCUIT : REFUSED_OPERATION)
}

/**
 * Whether a request was interrupted on the storage's side, as it is when the storage's scope closes. No line is logged
 * about it.
 */
export const isInterruption = ({ cause }: StorageError): boolean => cause === INTERRUPTED

/** Whether the storage did not answer, so that other circuits are affected, too. */
export const isUnreachable = ({ reason }: StorageError): boolean => reason === "Unavailable" || reason === "Deadline"

/** Whether the storage cannot use what it holds of this one circuit. It would answer the same again. */
export const isInvalid = ({ reason }: StorageError): boolean => reason === "Invalid"

/** Whether the storage refused an operation because of the circuit, and not because of the caller's rights. */
const isRefusal = ({ cause, reason }: StorageError): boolean => reason === "Denied" && cause === REFUSED_OPERATION

/** Whether the error is an answer about one circuit, so that trying again, or counting it against the storage, is wrong. */
export const isAnswer = (error: StorageError): boolean => isInvalid(error) || isRefusal(error)

/**
 * Fails a batch whose circuits were all unreachable. A breaker then sees that the storage is unavailable, and not that
 * each circuit has a problem of its own.
 */
export const failIfUnreachable = (synced: ReadonlyArray<Synced>): Effect.Effect<void, StorageError> => {
  const first = synced[0]?.result
  return first !== undefined && synced.every(({ result }) => Result.isFailure(result) && isUnreachable(result.failure))
    ? Effect.asVoid(Effect.fromResult(first))
    : Effect.void
}

/**
 * The error as a log line shows it: with the text of its cause, because an operator needs to know why the storage does not answer.
 * `toJSON` of the error itself leaves the cause out, because JSON may leave the process. A log line has no more than the text,
 * because a driver's error may hold a command with its arguments.
 */
export const loggedError = (error: unknown): unknown => {
  if (!isStorageError(error)) return error
  const { _tag, cause, circuit, operation, reason } = error
  const toJSON = () => ({
    _tag,
    operation,
    ...(circuit === undefined ? {} : { circuit }),
    reason,
    cause: textOf(cause)
  })
  return Object.create(error, { toJSON: { value: toJSON } })
}

const textOf = (cause: unknown): string => {
  if (typeof cause === "string") return cause
  const others = cause instanceof AggregateError ? cause.errors.map((error) => ` [${textOf(error)}]`).join("") : ""
  return Formatter.format(cause) + others
}
