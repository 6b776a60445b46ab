// @effect-diagnostics floatingEffect:off missingEffectContext:off missingEffectError:off promiseInEffectSuccess:off
/** Which values the compiler accepts as a storage: operations return an effect that requires no services. */
import { Effect, Stream } from "effect"
import type { Duration, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Storage } from "../../src/index.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import type { Law } from "../../src/Storage/Conformance.ts"
import type * as Service from "../../src/Storage/Storage.ts"

type Eq<X, Y> = (<T>() => T extends X ? 1 : 2) extends (<T>() => T extends Y ? 1 : 2) ? true : false
const eq = <X, Y>(_: Eq<X, Y>) => {}

declare const good: Service.Storage
declare const synced: ReadonlyArray<Service.Synced>
declare const changed: Service.Changed
declare const probed: Service.Probed
declare const entries: ReadonlyArray<Service.HistoryEntry>

Storage.Storage.of({
  ...good,
  sync: () => Effect.succeed(synced),
  change: () => Effect.succeed(changed),
  probe: () => Effect.succeed(probed),
  changes: Stream.empty,
  list: Stream.empty,
  history: () => Effect.succeed(entries)
})

// A promise cannot be interrupted, and its type does not say how it fails.
// @ts-expect-error
Storage.Storage.of({ ...good, sync: async () => synced })
// @ts-expect-error
Storage.Storage.of({ ...good, change: async () => changed })
// @ts-expect-error
Storage.Storage.of({ ...good, probe: async () => probed })
// @ts-expect-error
Storage.Storage.of({ ...good, history: async () => entries })
// @ts-expect-error an effect of a promise is refused, too
Storage.Storage.of({ ...good, sync: () => Effect.succeed(Promise.resolve(synced)) })
// @ts-expect-error an effect that fails with unknown, as a promise does, is refused, too
Storage.Storage.of({ ...good, sync: () => Effect.tryPromise(async () => synced) })

// A plain value could only be computed by blocking.
// @ts-expect-error
Storage.Storage.of({ ...good, sync: () => synced })
// @ts-expect-error
Storage.Storage.of({ ...good, change: () => changed })
// @ts-expect-error
Storage.Storage.of({ ...good, probe: () => probed })
// @ts-expect-error
Storage.Storage.of({ ...good, history: () => entries })
// @ts-expect-error
Storage.Storage.of({ ...good, list: ["a"] })
// @ts-expect-error
Storage.Storage.of({ ...good, changes: (async function*() {})() })

// An operation requires no services, because the storage was made with them.
declare const needy: Effect.Effect<ReadonlyArray<Service.Synced>, never, "connection">
// @ts-expect-error
Storage.Storage.of({ ...good, sync: () => needy })
// @ts-expect-error
Storage.Storage.of({ ...good, sync: () => Effect.fail("my own error") })
const { history: _, ...unfinished } = good
// @ts-expect-error
Storage.Storage.of(unfinished)

// The same rules apply to the parts of `fromDocument`.
declare const options: Storage.DocumentOptions
declare const stored: Storage.Document | undefined
Storage.fromDocument({ ...options, modify: (_, f) => Effect.sync(() => f(stored, 0)[0]) })
// @ts-expect-error
Storage.fromDocument({ ...options, modify: async (_, f) => f(stored, 0)[0] })
// @ts-expect-error
Storage.fromDocument({ ...options, modify: (_, f) => f(stored, 0)[0] })
// @ts-expect-error
Storage.fromDocument({ ...options, names: ["a"] })
// @ts-expect-error modify handles the document, not its text
Storage.fromDocument({ ...options, modify: (_, f) => Effect.sync(() => f("{}", 0)[0]) })

// A law fails with the layer's errors, and requires the services of the layer and the hooks.
declare const layer: (options: {
  readonly idleTimeToLive: Duration.Duration
}) => Layer.Layer<Storage.Storage, "no connection", "client">
declare const capabilities: Service.Capabilities
const laws = Conformance.laws({ capabilities, layer, advance: TestClock.adjust })
eq<typeof laws, ReadonlyArray<Law<"no connection", "client">>>(true)
declare const outage: Effect.Effect<void, "no such server", "server">
const more = Conformance.laws({ capabilities, layer, advance: TestClock.adjust, outage })
eq<typeof more, ReadonlyArray<Law<"no connection", "client" | "server">>>(true)
// @ts-expect-error a storage without a way to pass time
Conformance.laws({ capabilities, layer })
