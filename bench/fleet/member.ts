/**
 * A process of the fleet that `bench/fleet/main.ts` measures. It holds some instances of each contender. Each instance
 * has a storage and connections of its own, as if it was alone in its process, and makes calls at random times.
 */
import { Context, Effect, Exit, Layer, Logger, Redacted, Scope, Stream } from "effect"
import { isEmpty } from "../../src/core/Delta.ts"
import { Breaker, type Storage } from "../../src/index.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as Postgres from "../../src/layers/Postgres.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import * as SqlStorage from "../../src/Storage/Sql.ts"
import { Storage as StorageService } from "../../src/Storage/Storage.ts"
import type { On } from "./stores.ts"

/** Some instances of a contender, each with all of its circuits. */
export interface Group {
  readonly contender: string
  readonly on: On
  readonly url: string
  readonly policy: Breaker.Data
  /** If false, the storage pushes no changes, and instances hear of them by their reports and polls. */
  readonly pushes: boolean
  readonly instances: number
  readonly circuits: ReadonlyArray<string>
  /** The first instance here makes calls that are no evidence, so it rejects only what the fleet has opened. */
  readonly watches: boolean
}

export interface Load {
  /** Calls per second, instance and circuit. */
  readonly rate: number
  /** The share of calls that fail. */
  readonly failing: number
}

/** The number of requests that were sent to the storage so far, by kind. */
export interface Sent {
  readonly reports: number
  readonly looks: number
  readonly polls: number
  readonly changes: number
  readonly probes: number
}

/** When something of a circuit first happened here, in milliseconds of the host's monotonic clock. */
export interface Times {
  readonly failed?: number
  readonly opened?: number
  /** By the instance that watches. */
  readonly rejected?: number
}

export interface Requests {
  readonly join: Group
  readonly load: { readonly contender: string; readonly circuits: ReadonlyArray<string>; readonly load: Load }
  /** Forgets the times. */
  readonly forget: Readonly<Record<never, never>>
  readonly work: Readonly<Record<never, never>>
  readonly leave: Readonly<Record<never, never>>
}

export interface Replies {
  readonly join: null
  readonly load: null
  readonly forget: null
  readonly work: {
    readonly sent: Readonly<Record<string, Sent>>
    readonly times: Readonly<Record<string, Readonly<Record<string, Times>>>>
  }
  readonly leave: null
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

type Guarded = Effect.Success<ReturnType<typeof make>>

interface Member {
  readonly contender: string
  readonly breakers: ReadonlyMap<string, Guarded>
  readonly isWatching: boolean
}

const make = (circuit: string, policy: Breaker.Data) => Breaker.make(circuit, policy)

const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6

const members: Array<Member> = []
const loads = new Map<string, Map<string, Load>>()
const sent = new Map<string, Writable<Sent>>()
const times = new Map<string, Map<string, Writable<Times>>>()
let scope = Scope.makeUnsafe()

const timesOf = (contender: string, circuit: string): Writable<Times> => {
  const circuits = times.get(contender) ?? new Map<string, Writable<Times>>()
  times.set(contender, circuits)
  const known = circuits.get(circuit) ?? {}
  circuits.set(circuit, known)
  return known
}

const storageOn = ({ on, url }: Group): Layer.Layer<Storage.Storage> =>
  on === "postgres"
    ? Layer.provide(
      SqlStorage.layer({ prefix: "bench_" }),
      Postgres.layer({ url: Redacted.make(url), maxConnections: 2 })
    )
    : Layer.provide(RedisStorage.layer({ prefix: "bench:" }), IoRedis.layer(IoRedis.fromUrl(url)))

/** A storage that counts the requests to the given one, and pushes changes only if the group has pushes. */
const counted = ({ contender, pushes }: Group, storage: StorageService): StorageService => {
  const counts = sent.get(contender) ?? { reports: 0, looks: 0, polls: 0, changes: 0, probes: 0 }
  sent.set(contender, counts)
  const { bells } = storage
  return {
    ...storage,
    capabilities: { ...storage.capabilities, pushes },
    changes: pushes ? storage.changes : Stream.empty,
    sync: (reports) => {
      const looks = reports.filter(({ delta, suspect }) => isEmpty(delta) && suspect === undefined).length
      counts.looks += looks
      counts.reports += reports.length - looks
      return storage.sync(reports)
    },
    change: (circuit, change) => {
      counts.changes++
      return Effect.tap(storage.change(circuit, change), ({ committed }) =>
        Effect.sync(() => {
          if (committed && change._tag === "Trip") timesOf(contender, circuit).opened ??= monotonic()
        }))
    },
    probe: (circuit, probe) => {
      counts.probes++
      return storage.probe(circuit, probe)
    },
    ...bells === undefined ? {} : {
      bells: (since) => {
        counts.polls++
        return bells(since)
      }
    }
  }
}

const join = async (group: Group): Promise<null> => {
  for (let i = 0; i < group.instances; i++) {
    // Each instance has a storage of its own.
    const layer = Layer.fresh(Layer.merge(storageOn(group), Logger.layer([])))
    const services = await Effect.runPromise(Layer.buildWithScope(layer, scope))
    const storage = counted(group, Context.get(services, StorageService))
    const breakers = new Map<string, Guarded>()
    for (const circuit of group.circuits) {
      const breaker = await Effect.runPromise(
        make(circuit, group.policy).pipe(
          Scope.provide(scope),
          Effect.provide(Context.add(services, StorageService, storage))
        )
      )
      breakers.set(circuit, breaker)
    }
    members.push({ contender: group.contender, breakers, isWatching: group.watches && i === 0 })
  }
  return null
}

const failure = Effect.fail("unavailable")

const call = (
  { contender, isWatching }: Member,
  circuit: string,
  breaker: Guarded,
  fails: boolean
) => {
  if (isWatching) {
    Effect.runFork(breaker.wrap(Effect.interrupt)).addObserver((exit) => {
      const isRejected = Exit.isFailure(exit) &&
        exit.cause.reasons.some((reason) => reason._tag === "Fail" && Breaker.isRejection(reason.error))
      if (isRejected) timesOf(contender, circuit).rejected ??= monotonic()
    })
    return
  }
  if (fails) timesOf(contender, circuit).failed ??= monotonic()
  Effect.runFork(breaker.wrap(fails ? failure : Effect.void))
}

const TICK_MILLIS = 10
/** The calls of an instance that watches, to each circuit. */
const WATCHES_PER_SECOND = 30
let tickedAt = performance.now()

setInterval(() => {
  const elapsed = Math.min(100, performance.now() - tickedAt)
  tickedAt = performance.now()
  for (const member of members) {
    const load = loads.get(member.contender)
    if (load === undefined) continue
    for (const [circuit, breaker] of member.breakers) {
      const { failing, rate } = load.get(circuit) ?? { failing: 0, rate: 0 }
      const calls = (member.isWatching ? WATCHES_PER_SECOND : rate) * elapsed / 1000
      if (Math.random() < calls) call(member, circuit, breaker, Math.random() < failing)
    }
  }
}, TICK_MILLIS)

const answers: { readonly [K in keyof Requests]: (request: Requests[K]) => Promise<Replies[K]> } = {
  join,
  load: async ({ circuits, contender, load }) => {
    const all = loads.get(contender) ?? new Map<string, Load>()
    loads.set(contender, all)
    for (const circuit of circuits) all.set(circuit, load)
    return null
  },
  forget: async () => {
    times.clear()
    return null
  },
  work: async () => ({
    sent: Object.fromEntries(sent),
    times: Object.fromEntries([...times].map(([contender, circuits]) => [contender, Object.fromEntries(circuits)]))
  }),
  leave: async () => {
    members.length = 0
    loads.clear()
    await Effect.runPromise(Scope.close(scope, Exit.void))
    scope = Scope.makeUnsafe()
    return null
  }
}

process.on("message", ([what, request]: [keyof Requests, never]) => {
  answers[what](request).then(
    (reply) => process.send!(reply),
    (error) => {
      console.error(error)
      process.exit(1)
    }
  )
})
process.on("disconnect", () => process.exit())
process.send!("ready")
