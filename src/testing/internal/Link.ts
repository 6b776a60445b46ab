/**
 * The network between one process and a server: a storage whose messages are delayed, lost and duplicated, and that
 * fails.
 *
 * A message that was sent arrives even if its sender no longer waits. Messages are copied as JSON, so that processes
 * share no objects.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { Announcement, CircuitReport, Storage, StorageError } from "../../Storage/Storage.ts"
import type { Letter, Mail } from "./Mail.ts"
import type { Rng } from "./Random.ts"
import { type Input, type Server, unavailable } from "./Server.ts"
import type { Machine } from "./World.ts"

/** Probabilities are of each message; times are milliseconds. */
export interface Quality {
  readonly latency: number
  readonly jitter: number
  readonly losesRequest: number
  readonly losesReply: number
  readonly doubles: number
  /** Nothing gets through: silently, or with an error for the sender at once. */
  readonly cut?: "silent" | "refused" | undefined
}

export const perfect: Quality = { latency: 1, jitter: 0, losesRequest: 0, losesReply: 0, doubles: 0 }

/** One request to a server. */
export interface Exchange {
  /** The backend it is sent to. */
  readonly to: string
  readonly kind: "sync" | "change" | "probe" | "bells"
  readonly inputs: ReadonlyMap<string, Input>
  readonly sentAt: number
  readonly sent: number
  /** Whether its sender has the answer, or no longer waits for it. */
  isOver: boolean
}

export interface Watcher {
  readonly sent: (exchange: Exchange) => void
  /** The sender has the answer, or no longer waits for it (`undefined`). */
  readonly ended: (exchange: Exchange, exit: Exit.Exit<unknown, StorageError> | undefined) => void
  readonly pushed: (announcement: Announcement) => void
}

export class Link {
  readonly storage: Storage
  quality: Quality
  /** Whether all pushes are lost. */
  isDeaf = false
  /** When it last delayed, lost or duplicated a message, as a perfect link would not. */
  hurtAt = -Infinity
  readonly #server: Server
  readonly #machine: Machine
  readonly #rng: Rng
  readonly #from: number
  readonly #watcher: Watcher
  /** Where messages wait to be delivered by hand. */
  readonly #mail: Mail | undefined

  constructor(
    from: number,
    server: Server,
    machine: Machine,
    rng: Rng,
    quality: Quality,
    watcher: Watcher,
    mail: Mail | undefined
  ) {
    this.#from = from
    this.#mail = mail
    this.#server = server
    this.#machine = machine
    this.#rng = rng
    this.#watcher = watcher
    this.quality = quality
    const { storage } = server
    this.storage = {
      ...storage,
      sync: (reports) => {
        const sent = plain(reports)
        return this.#request(
          "sync",
          new Map(sent.map((report) => [report.circuit, tagged(report)])),
          storage.sync(sent)
        )
      },
      change: (circuit, change) => {
        const sent = plain(change)
        return this.#request("change", new Map([[circuit, sent]]), storage.change(circuit, sent))
      },
      probe: (circuit, probe) => {
        const sent = plain(probe)
        return this.#request("probe", new Map([[circuit, sent]]), storage.probe(circuit, sent))
      },
      ...(storage.bells === undefined
        ? {}
        : { bells: (since) => this.#request("bells", new Map(), storage.bells!(since)) }),
      changes: this.#changes()
    }
  }

  #request<A>(
    kind: Exchange["kind"],
    inputs: ReadonlyMap<string, Input>,
    request: Effect.Effect<A, StorageError>
  ): Effect.Effect<A, StorageError> {
    const { world } = this.#machine
    return Effect.callback((resume) => {
      const exchange: Exchange = {
        to: this.storage.backend,
        kind,
        inputs,
        sentAt: world.now,
        sent: world.stamp(),
        isOver: false
      }
      const end = (exit: Exit.Exit<A, StorageError> | undefined): void => {
        if (exchange.isOver) return
        exchange.isOver = true
        if (exit?._tag !== "Success") this.hurtAt = world.now
        this.#watcher.ended(exchange, exit)
        if (exit !== undefined) resume(exit)
      }
      const answer = (exit: Exit.Exit<A, StorageError>): void =>
        this.#transmit(
          { what: "reply", exchange, says: exit },
          this.quality.losesReply,
          () => this.#machine.deliver(() => end(exit))
        )
      const arrive = (): void => {
        const locked = this.#server.lockedFor(inputs.keys())
        if (locked > 0) {
          this.hurtAt = world.now + locked
          world.after(locked, arrive)
        } else answer(this.#server.handle(this.#from, inputs, request))
      }
      this.#watcher.sent(exchange)
      if (this.quality.cut === "refused") {
        this.hurtAt = world.now
        world.after(this.quality.latency, () => this.#machine.deliver(() => end(Exit.fail(unavailable("refused")))))
      } else this.#transmit({ what: "request", exchange, says: undefined }, this.quality.losesRequest, arrive)
      return Effect.sync(() => end(undefined))
    })
  }

  /** Delivers a message once, twice, or not at all. */
  #transmit(message: Pick<Letter, "what" | "exchange" | "says">, loses: number, arrive: () => void): void {
    const { world } = this.#machine
    const hurt = (): void => {
      this.hurtAt = world.now
    }
    if (this.#mail !== undefined) {
      const to = message.what === "request" ? undefined : this.#machine
      return this.#mail.post({ ...message, process: this.#from, to, arrive, hurt })
    }
    const { cut, doubles, jitter, latency } = this.quality
    if (cut !== undefined || this.#rng.chance(loses)) return hurt()
    const once = (): void => {
      world.after(latency + this.#rng.nextDoubleUnsafe() * jitter, arrive)
    }
    once()
    if (this.#rng.chance(doubles)) once()
  }

  #changes(): Stream.Stream<Announcement, StorageError> {
    return Stream.callback<Announcement, StorageError>((queue) => {
      const subscriber = (announcement: Announcement): void =>
        this.isDeaf ? undefined : this.#transmit(
          { what: "push", exchange: undefined, says: announcement },
          this.quality.losesReply,
          () =>
            this.#machine.deliver(() => {
              this.#watcher.pushed(announcement)
              Queue.offerUnsafe(queue, announcement)
            })
        )
      Queue.offerUnsafe(queue, { _tag: "Subscribed" })
      this.#server.subscribers.add(subscriber)
      return Effect.addFinalizer(() => Effect.sync(() => this.#server.subscribers.delete(subscriber)))
    })
  }
}

const plain = <A>(value: A): A => JSON.parse(JSON.stringify(value))

const tagged = (report: CircuitReport): Input => ({ ...report, _tag: "Report" })
