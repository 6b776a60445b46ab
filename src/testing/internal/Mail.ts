/**
 * Messages between processes and server that wait for the one who plays the network: each arrives when it is delivered, once or
 * twice, in any order, or never.
 */
import type { Machine } from "./World.ts"

export interface Letter {
  /** The process that it is from or to. */
  readonly process: number
  /** The machine that it is to; `undefined` for a request. */
  readonly to: Machine | undefined
  readonly what: "request" | "reply" | "push"
  /** The request, or the one that is replied to. */
  readonly exchange: { readonly isOver: boolean } | undefined
  /** The content of a reply or a push. */
  readonly says: unknown
  readonly arrive: () => void
  /** Notes that this message was not delivered as a perfect link would. */
  readonly hurt: () => void
  /** Whether it stays under way while time passes. */
  isHeld: boolean
}

/** More messages than this at one time count as an endless exchange. */
const MOST_AT_ONCE = 1000

export class Mail {
  /** In the order in which they were sent, those that are held last. */
  readonly letters: Array<Letter> = []

  post(letter: Omit<Letter, "isHeld">): void {
    const held = this.letters.findIndex(({ isHeld }) => isHeld)
    this.letters.splice(held === -1 ? this.letters.length : held, 0, { ...letter, isHeld: false })
  }

  #at(number: number): Letter {
    const letter = this.letters[number - 1]
    if (letter === undefined) throw new Error(`no message ${number} is under way`)
    return letter
  }

  /** Delivers a message by its place among those under way, from 1. */
  deliver(number: number): void {
    const letter = this.#at(number)
    this.letters.splice(number - 1, 1)
    letter.arrive()
  }

  lose(number: number): void {
    this.#at(number).hurt()
    this.letters.splice(number - 1, 1)
  }

  /** Delivers a message that will arrive once more, late. */
  double(number: number): void {
    const letter = this.#at(number)
    this.hold(number)
    letter.arrive()
  }

  /** A message is late: it arrives when it is delivered by its number. */
  hold(number: number): void {
    const letter = this.#at(number)
    this.letters.splice(number - 1, 1)
    this.letters.push(letter)
    letter.isHeld = true
    letter.hurt()
  }

  /** Delivers all messages that are not held, and those that are sent on their account. Those to a paused machine wait. */
  deliverAll(): void {
    for (let i = 0; i < MOST_AT_ONCE; i++) {
      const next = this.letters.findIndex(({ isHeld, to }) => !isHeld && to?.isPaused !== true)
      if (next === -1) return
      this.deliver(next + 1)
    }
    throw new Error("processes and server never stop talking")
  }

  /** The messages that are held have been under way for too long for a perfect link. */
  grow(): void {
    for (const { hurt, isHeld } of this.letters) if (isHeld) hurt()
  }

  /** Holds nothing any more. */
  release(): void {
    for (const letter of this.letters) letter.isHeld = false
  }
}
