/** Errors of Redis and of its client as errors of a storage. */
import type * as Redis from "effect/persistence/Redis"
import { failure } from "../internal/StorageErrors.ts"
import type { StorageError } from "../Storage/Storage.ts"

export const storageErrorOf = (operation: string, circuit?: string) => ({ cause }: Redis.RedisError): StorageError =>
  failure({ operation, circuit }, reasonOf(cause), cause)

const messageOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/**
 * The words of an error before the first value that it quotes, because a value may hold anything. A key begins with a
 * prefix and a brace.
 */
const wordsOf = (cause: unknown): string => messageOf(cause).split(/["`{]|(?<= )'/, 1)[0]!

/** True if the server does not know the script's digest. Some servers and proxies put another word before `NOSCRIPT`. */
export const isUnknownScript = ({ cause }: Redis.RedisError): boolean => /\bNOSCRIPT\b/.test(wordsOf(cause))

/** The words of our scripts about a circuit, of Lua about its values, and of Redis about a key of another type. */
const ABOUT_ONE_CIRCUIT = /\bRedis (?:field|instance) .* of circuit $|\buser_script:\s*\d+: attempt to\b|\bWRONGTYPE\b/s

/** A server's error begins with a word in capitals. */
const OF_A_SERVER = /^[A-Z]/

const ABOUT_RIGHTS =
  /\b(?:NOAUTH|NOPERM|WRONGPASS|DENIED)\b|passw|unauthori[sz]ed|authenticat|permission|not permitted|access denied|can't run this command/i

/**
 * Servers, versions and proxies word their errors differently, so only two kinds are told apart: those about this one
 * circuit, and those about rights and passwords. Any other error may concern all circuits, whatever its words are.
 */
const reasonOf = (cause: unknown): StorageError["reason"] => {
  const words = wordsOf(cause)
  if (!OF_A_SERVER.test(words)) return "Unavailable"
  return ABOUT_ONE_CIRCUIT.test(words) ? "Invalid" : ABOUT_RIGHTS.test(words) ? "Denied" : "Unavailable"
}
