/** A time by one clock is no time by the other. Compiled, never run. */
import type { LocalMillis, StorageMillis } from "../../src/core/Time.ts"

declare const local: LocalMillis
declare const storage: StorageMillis

const read = {
  local: (at: LocalMillis) => at,
  storage: (at: StorageMillis) => at
}

read.local(local + 10)
read.storage(storage + 10)
// @ts-expect-error the storage's clock is another
read.local(storage)
// @ts-expect-error the local clock is another
read.storage(local)
