/** Which service guards which circuits of this process: two services with one name would fight over one circuit. */
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"

/** What claims a name: a service class, by identity and by what it is called. */
export interface Owner {
  readonly identity: unknown
  readonly title: string
}

const claims = new Map<string, { readonly owner: Owner; holders: number }>()

/** Holds a name for its owner until the scope closes. Another owner of the same name is a defect that names both. */
export const claim = (name: string, owner: Owner): Effect.Effect<void, never, Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const held = claims.get(name)
      if (held === undefined) claims.set(name, { owner, holders: 1 })
      else if (held.owner.identity === owner.identity) held.holders++
      else {
        throw new Error(
          `Circuit ${
            JSON.stringify(name)
          } belongs to ${held.owner.title} and to ${owner.title}: give one of them another name`
        )
      }
    }),
    () =>
      Effect.sync(() => {
        if (--claims.get(name)!.holders === 0) claims.delete(name)
      })
  )
