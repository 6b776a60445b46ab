/** Whether a storage has bells. It may say so without having the operation, because anyone may make one. */
import type { Storage } from "../Storage/Storage.ts"

export const hasBells = ({ bells, capabilities }: Pick<Storage, "bells" | "capabilities">): boolean =>
  capabilities.bells === true && bells !== undefined
