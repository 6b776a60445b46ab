/** Errors of a file system as errors of a storage. The caller fills in the operation and the circuit. */
import type { PlatformError } from "effect/PlatformError"
import { failure } from "../internal/StorageErrors.ts"
import type { StorageError } from "../Storage/Storage.ts"

export const fileError = (reason: StorageError["reason"], cause: unknown): StorageError =>
  failure({ operation: "file" }, reason, cause)

/** Node's codes for an operation that the file system does not support. Effect's tags do not tell them apart. */
const UNSUPPORTED = ["ENOTSUP", "EOPNOTSUPP", "ENOSYS"]

const codeOf = ({ reason: { cause } }: PlatformError): unknown =>
  typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined

/**
 * Rights that are missing, and a directory or a file where the other should be: what an operator has to mend. All else is
 * `Unavailable`, a full or read-only disk too, so that another storage can stand in.
 */
const isDenied = ({ reason: { _tag } }: PlatformError): boolean =>
  _tag === "PermissionDenied" || _tag === "BadResource" || _tag === "BadArgument"

export const storageErrorOf = (error: PlatformError): StorageError =>
  fileError(isDenied(error) ? "Denied" : "Unavailable", error)

export const deniedError = (message: string, cause?: unknown): StorageError =>
  fileError("Denied", new Error(message, { cause }))

/** As `storageErrorOf`, and says so if the failed call was a hard link, which not every file system has. */
export const linkErrorOf = (error: PlatformError): StorageError =>
  error.reason.method === "link" && ["EPERM", ...UNSUPPORTED].includes(String(codeOf(error)))
    ? deniedError("this file system has no hard links, which writing a circuit needs: use a local disk that has", error)
    : storageErrorOf(error)

/** True if this process cannot flush the directory at all. Then it did not create the directory either. */
export const isUnflushable = (error: PlatformError): boolean =>
  error.reason._tag === "PermissionDenied" || ["EINVAL", ...UNSUPPORTED].includes(String(codeOf(error)))

export const isNotFound = ({ reason }: PlatformError): boolean => reason._tag === "NotFound"

export const isAlreadyThere = ({ reason }: PlatformError): boolean => reason._tag === "AlreadyExists"
