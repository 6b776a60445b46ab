/** Whether a storage has bells: it says so, and it has the operation. A storage of a user's own may have only one of the two. */
import type { Storage } from "../Storage/Storage.ts"

export const hasBells = ({ bells, capabilities }: Pick<Storage, "bells" | "capabilities">): boolean =>
  capabilities.bells === true && bells !== undefined
