/** The types keep times of the local clock and of the storage's clock apart. Compiled, never run. */
import type { LocalMillis, StorageMillis } from "../../src/core/Time.ts"

declare const local: LocalMillis
declare const storage: StorageMillis

const read = {
  local: (at: LocalMillis) => at,
  storage: (at: StorageMillis) => at
}

read.local(local + 10)
read.storage(storage + 10)
// @ts-expect-error a time of the storage's clock
read.local(storage)
// @ts-expect-error a time of the local clock
read.storage(local)
