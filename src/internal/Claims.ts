/** Which service guards which circuits of this process: two services with one name would fight over one circuit. */
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"

/** What claims a name: a service class, by identity and by what it is called. */
export interface Owner {
  readonly identity: unknown
  readonly title: string
}

interface Claim {
  readonly owner: Owner
  holders: number
}

/** By the name of the circuit. */
const circuits = new Map<string, Claim>()
/** By what the names of a keyed breaker's circuits begin with: all up to the first `/`. */
const keyed = new Map<string, Claim>()

/** Holds a circuit's name for its owner until the scope closes. Another owner of the same name is a defect that names both. */
export const claim = (name: string, owner: Owner): Effect.Effect<void, never, Scope> =>
  hold(circuits, name, owner, () => keyed.get(name.slice(0, name.indexOf("/") + 1)))

/** Holds all names that begin so. */
export const claimKeys = (prefix: string, owner: Owner): Effect.Effect<void, never, Scope> =>
  hold(keyed, prefix, owner, () => circuits.entries().find(([name]) => name.startsWith(prefix))?.[1])

const hold = (
  claims: Map<string, Claim>,
  name: string,
  owner: Owner,
  rival: () => Claim | undefined
): Effect.Effect<void, never, Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const held = claims.get(name)
      const other = held === undefined || held.owner.identity === owner.identity ? rival() : held
      if (other !== undefined) {
        throw new Error(
          `Circuit ${
            JSON.stringify(name)
          } belongs to ${other.owner.title} and to ${owner.title}: give one of them another name`
        )
      }
      if (held === undefined) claims.set(name, { owner, holders: 1 })
      else held.holders++
    }),
    () =>
      Effect.sync(() => {
        if (--claims.get(name)!.holders === 0) claims.delete(name)
      })
  )
