/** Errors of Redis and of its client as errors of a storage. */
import type * as Redis from "effect/persistence/Redis"
import { failure } from "../internal/StorageErrors.ts"
import type { StorageError } from "../Storage/Storage.ts"

export const storageErrorOf = (operation: string, circuit?: string) => ({ cause }: Redis.RedisError): StorageError =>
  failure({ operation, circuit }, reasonOf(cause), cause)

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/** True if the server does not know the script's digest. */
export const isUnknownScript = ({ cause }: Redis.RedisError): boolean => messageOf(cause).startsWith("NOSCRIPT")

/** A server's error begins with a word in capitals. Any other error comes from the client or the network. */
const reasonOf = (cause: unknown): StorageError["reason"] => {
  const message = messageOf(cause)
  switch (/^[A-Z]+(?= |$)/.exec(message)?.[0]) {
    case "NOAUTH":
    case "NOPERM":
    case "WRONGPASS":
      return "Denied"
    case "ERR":
      // Before Redis 7 an error of a script hides the error that caused it. Quotes begin values, which may hold
      // anything.
      return /^ERR (?:max number of clients|[^"]*-READONLY)/.test(message) ? "Unavailable" : "Invalid"
    case "WRONGTYPE":
    case "CROSSSLOT":
      return "Invalid"
    default:
      return "Unavailable"
  }
}
