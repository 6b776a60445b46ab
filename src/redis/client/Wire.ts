/**
 * The messages on one connection to Redis, checked against the protocol. A client may fail in its own
 * callbacks, and so end the process, at a reply that no command awaits, and at a null where a channel should be. It may
 * also collect a reply without an end. Such messages must not reach the client.
 *
 * **Invariants**
 *
 * - `#awaited` counts the commands that were sent and have no reply yet, up to the first that subscribes.
 * - From that one on every message must be one of a subscription. `#mode` says so before its reply comes.
 */
import { type Frame, Frames, type Limits } from "./Frames.ts"

export interface WireLimits extends Limits {
  /** The longest time from the first wait for a reply until that reply is complete. */
  readonly replyMillis: number
}

/** A request of the client may be of any size. */
const UNLIMITED: Limits = { bytes: Infinity, elements: Infinity }

/** After these commands the server sends messages that no command awaits. */
const MODES: Readonly<Record<string, "messages" | "monitor">> = {
  subscribe: "messages",
  psubscribe: "messages",
  ssubscribe: "messages",
  monitor: "monitor"
}

export class Wire {
  readonly #limits: WireLimits
  readonly #sent: Frames
  readonly #received: Frames
  #mode: "replies" | "messages" | "monitor" = "replies"
  #hasUnsubscribed = false
  #awaited = 0
  /** Since when the next reply is awaited. */
  #since = 0
  #now = 0

  constructor(limits: WireLimits) {
    this.#limits = limits
    this.#sent = new Frames(UNLIMITED, (frame) => this.#commandSent(frame))
    this.#received = new Frames(limits, (frame) => this.#messageReceived(frame))
  }

  /** Notes what the client sends. */
  sent(chunk: Uint8Array, nowMillis: number): void {
    this.#now = nowMillis
    this.#sent.read(chunk)
  }

  /** Checks what the server sends. Throws an `Error` that says what is wrong with it. */
  received(chunk: Uint8Array, nowMillis: number): void {
    this.#now = nowMillis
    this.#received.read(chunk)
    const { replyMillis } = this.#limits
    if (this.#awaited > 0 && nowMillis - this.#since > replyMillis) {
      throw new Error(`it sent no complete reply within ${replyMillis} ms`)
    }
  }

  #commandSent({ first: [name = ""] }: Frame): void {
    const word = name.toLowerCase()
    if (word.endsWith("unsubscribe")) this.#hasUnsubscribed = true
    if (this.#mode !== "replies") return
    const mode = MODES[word]
    if (mode !== undefined) this.#mode = mode
    else if (this.#awaited++ === 0) this.#since = this.#now
  }

  #messageReceived(frame: Frame): void {
    if (this.#awaited > 0) {
      this.#awaited--
      this.#since = this.#now
    } else if (this.#mode === "replies") {
      throw new Error("it sent a reply that no command awaits")
    } else if (!isPushed(frame, this.#mode, this.#hasUnsubscribed)) {
      throw new Error("it sent a message to a subscription that is none")
    }
  }
}

/** Whether a message may come without a command, or answers the command that subscribes. */
const isPushed = ({ first, type }: Frame, mode: "messages" | "monitor", hasUnsubscribed: boolean): boolean => {
  if (type === "-") return true
  if (mode === "monitor") return type === "+"
  const [kind, channel, ...rest] = first
  if (type !== "*" || kind === undefined) return false
  // A client that unsubscribes without a subscription is answered without a channel.
  if (channel === undefined) return hasUnsubscribed && kind.endsWith("unsubscribe")
  return kind !== "pmessage" || (rest.length === 2 && !rest.includes(undefined))
}
