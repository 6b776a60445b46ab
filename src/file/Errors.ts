/** What a file system refuses, as a storage says it. */
import type { PlatformError } from "effect/PlatformError"
import { StorageError } from "../Storage/Storage.ts"

const codeOf = ({ reason: { cause } }: PlatformError): unknown =>
  typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined

const denied = (error: PlatformError): boolean =>
  error.reason._tag === "PermissionDenied" || error.reason._tag === "BadResource" ||
  error.reason._tag === "BadArgument" ||
  codeOf(error) === "EROFS"

/** The operation and the circuit are for others to fill in. */
export const errorOf = (error: PlatformError): StorageError =>
  new StorageError({ operation: "file", reason: denied(error) ? "Denied" : "Unavailable", cause: error })

const UNSUPPORTED = ["ENOTSUP", "EOPNOTSUPP", "ENOSYS"]

/** The same where it may have been a hard link, which not every file system has. */
export const linkErrorOf = (error: PlatformError): StorageError =>
  error.reason.method === "link" && ["EPERM", ...UNSUPPORTED].includes(String(codeOf(error)))
    ? refused("this file system has no hard links, by which circuits are written: use a local disk that has", error)
    : errorOf(error)

export const refused = (message: string, cause?: unknown): StorageError =>
  new StorageError({ operation: "file", reason: "Denied", cause: new Error(message, { cause }) })

/** Whether a directory cannot be flushed by us at all, which says that we did not make it. */
export const isUnflushable = (error: PlatformError): boolean =>
  error.reason._tag === "PermissionDenied" || ["EINVAL", ...UNSUPPORTED].includes(String(codeOf(error)))

export const isNotFound = ({ reason }: PlatformError): boolean => reason._tag === "NotFound"

export const isThere = ({ reason }: PlatformError): boolean => reason._tag === "AlreadyExists"
