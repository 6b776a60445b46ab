/**
 * Which service guards which circuits of a storage in this process: two services with one name would fight over one circuit.
 *
 * A module that is evaluated again while its first evaluation lives (hot reload, tests without isolation) makes a second class
 * of the same name. That works, with a warning, because both are the same service by intent. All copies of this library in a
 * process share one registry, because such an evaluation may bring its own copy.
 *
 * **Invariants**
 *
 * - All holders of a claim have services of the same name. It is there exactly while it has a holder.
 * - A second service is warned of once for as long as it holds the claim, however often its layer is built.
 */
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import { Storage } from "../Storage/Storage.ts"
import { prefixIn } from "./CircuitName.ts"
import { type Log, makeLog } from "./Log.ts"
import { messages } from "./Messages.ts"

/** A service that claims a name: by the identity of its class, and by the name of the class. */
export interface Owner {
  readonly identity: object
  readonly title: string
}

interface Claim {
  readonly title: string
  /** How many layers of each class hold it. */
  readonly holders: Map<unknown, number>
}

/** The claims on one storage. */
interface Registry {
  /** By the name of the circuit. */
  readonly circuits: Map<string, Claim>
  /** By the prefix of a keyed breaker's circuits: all up to the first `/`. */
  readonly prefixes: Map<string, Claim>
}

const shared: { [key: symbol]: WeakMap<Storage, Registry> | undefined } = globalThis as {}
const registries = shared[Symbol.for("effect-breaker/NameRegistry/1")] ??= new WeakMap<Storage, Registry>()

/** The storages in memory on which a service is provided now, by its identity and the name of its circuits. */
interface Served {
  readonly storages: Set<Storage>
  hasLogged: boolean
}

const served = new WeakMap<object, Map<string, Served>>()

const servedOf = ({ identity }: Owner, name: string): Served => {
  let byName = served.get(identity)
  if (byName === undefined) served.set(identity, byName = new Map())
  let found = byName.get(name)
  if (found === undefined) byName.set(name, found = { storages: new Set(), hasLogged: false })
  return found
}

/** Whether nobody else can see the storage's circuits. A storage that cannot fence makes no claim to share them. */
const isPrivate = ({ capabilities: { durable, fences, shared } }: Storage): boolean => fences && !shared && !durable

/** Holds a circuit's name for its owner until the scope closes. Another owner of the same name is a defect that names both. */
export const claim = (name: string, owner: Owner): Effect.Effect<void, never, Scope | Storage> =>
  hold(name, owner, ({ circuits, prefixes }) => ({
    claims: circuits,
    rival: () => prefixes.get(prefixIn(name))
  }))

/** Holds all names with this prefix. */
export const claimKeys = (prefix: string, owner: Owner): Effect.Effect<void, never, Scope | Storage> =>
  hold(prefix, owner, ({ circuits, prefixes }) => ({
    claims: prefixes,
    rival: () => circuits.entries().find(([name]) => prefixIn(name) === prefix)?.[1]
  }))

const hold = (
  name: string,
  owner: Owner,
  placeIn: (registry: Registry) => { readonly claims: Map<string, Claim>; readonly rival: () => Claim | undefined }
): Effect.Effect<void, never, Scope | Storage> =>
  Effect.flatMap(Storage, (storage) => {
    let registry = registries.get(storage)
    if (registry === undefined) registries.set(storage, registry = { circuits: new Map(), prefixes: new Map() })
    const { claims, rival } = placeIn(registry)
    return Effect.acquireRelease(
      Effect.flatMap(Effect.context<never>(), (context) => {
        const held = claims.get(name)
        const other = held === undefined || held.title === owner.title ? rival() : held
        if (other !== undefined) return Effect.die(conflict(name, other.title, owner.title))
        const { holders, title } = held ?? { title: owner.title, holders: new Map<unknown, number>() }
        if (held === undefined) claims.set(name, { title, holders })
        else if (!holders.has(owner.identity)) {
          makeLog(context)(messages.madeTwice, { circuit: name, service: owner.title, other: title })
        }
        holders.set(owner.identity, (holders.get(owner.identity) ?? 0) + 1)
        if (isPrivate(storage)) serve(storage, name, owner, makeLog(context))
        return Effect.void
      }),
      () =>
        Effect.sync(() => {
          const { holders } = claims.get(name)!
          const left = holders.get(owner.identity)! - 1
          if (left > 0) holders.set(owner.identity, left)
          else {
            holders.delete(owner.identity)
            servedOf(owner, name).storages.delete(storage)
          }
          if (holders.size === 0) claims.delete(name)
        })
    )
  })

/** Logs once that a service is provided on two storages in memory: neither sees what the other counts. */
const serve = (storage: Storage, name: string, owner: Owner, log: Log): void => {
  const service = servedOf(owner, name)
  service.storages.add(storage)
  if (service.storages.size < 2 || service.hasLogged) return
  service.hasLogged = true
  log(messages.servedTwice, { circuit: name, service: owner.title })
}

const conflict = (name: string, held: string, title: string): Error =>
  new Error(`Circuit ${JSON.stringify(name)} belongs to ${held} and to ${title}: give one of them another name`)
