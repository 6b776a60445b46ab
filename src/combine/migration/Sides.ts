/** The two storages of a migration, and the roles that they have in a phase. */
import type { Follower } from "../Follower.ts"
import type { FusedStorage } from "../FusedStorage.ts"
import type { Phase } from "./Models.ts"

/** `forward` keeps the new storage in step with the old one, `backward` the old one with the new one. */
export interface Sides {
  readonly from: FusedStorage
  readonly to: FusedStorage
  readonly forward: Follower
  readonly backward: Follower
  /** The deadline of requests to a storage that does not decide. */
  readonly deadlineMillis: number
}

/** Which storage decides, and which one follows. */
export const rolesIn = (
  phase: Phase,
  { backward, forward, from, to }: Sides
): { readonly leader: FusedStorage; readonly follower: Follower | undefined } => {
  switch (phase) {
    case "read-old-write-both":
    case "read-both-write-both":
      return { leader: from, follower: forward }
    case "read-new-write-both":
      return { leader: to, follower: backward }
    case "read-new-write-new":
      return { leader: to, follower: undefined }
  }
}
