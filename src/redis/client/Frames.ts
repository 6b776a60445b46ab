/**
 * Finds the ends of messages in a stream of RESP2, the protocol of Redis. Of a message it keeps only its shape.
 *
 * **Invariants**
 *
 * - `#open` has, for each list that is not complete, how many of its elements are still to come.
 * - `#bytes` and `#elements` are those of the message that is not complete. An announced length counts at once, because
 *   a client may allocate memory for what was only announced.
 */

/** The shape of a message. */
export interface Frame {
  /** Its first character: `+` and `$` a text, `-` an error, `:` a number, `*` a list. */
  readonly type: string
  readonly isNull: boolean
  /** The first elements of a list, as texts that may be cut, and `undefined` for one that is not a text. */
  readonly first: ReadonlyArray<string | undefined>
}

export interface Limits {
  /** The most bytes of one message. */
  readonly bytes: number
  /** The most elements of all lists of one message. */
  readonly elements: number
}

const CR = 13
const KEPT_ELEMENTS = 4
const KEPT_CHARACTERS = 32

/** Byte by byte, because a view of the chunk costs several times as much as a short text. */
const textOf = (chunk: Uint8Array, from: number, to: number): string => {
  let text = ""
  for (let at = from; at < Math.min(to, from + KEPT_CHARACTERS + 1); at++) text += String.fromCharCode(chunk[at]!)
  return text
}

export class Frames {
  readonly #limits: Limits
  readonly #onFrame: (frame: Frame) => void
  #reads: "type" | "line" | "rest" = "type"
  #type = ""
  /** The beginning of the present line, or of what follows it. */
  #text = ""
  /** The length in the present line. -1 stands for null. */
  #length = 0
  /** The bytes behind the present line that belong to it: its line feed, and a text with its line end. */
  #rest = 0
  readonly #open: Array<number> = []
  #first: Array<string | undefined> = []
  #bytes = 0
  #elements = 0

  constructor(limits: Limits, onFrame: (frame: Frame) => void) {
    this.#limits = limits
    this.#onFrame = onFrame
  }

  /** Reads the next bytes. Throws an `Error` for what is not RESP2 or exceeds the limits. */
  read(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      const from = at
      at = this.#step(chunk, at)
      this.#bytes += at - from
      this.#checkSize(0)
      if (this.#reads === "rest" && this.#rest === 0) this.#partEnded()
    }
  }

  /** Reads one part of a message, or what the chunk has of it, and returns where that ends. */
  #step(chunk: Uint8Array, at: number): number {
    switch (this.#reads) {
      case "type":
        this.#begin(String.fromCharCode(chunk[at]!))
        return at + 1
      case "line": {
        const end = chunk.indexOf(CR, at)
        const to = end === -1 ? chunk.length : end
        this.#keep(chunk, at, to)
        if (end === -1) return to
        this.#lineEnded()
        return to + 1
      }
      case "rest": {
        const to = Math.min(chunk.length, at + this.#rest)
        if (this.#isFirst) this.#keep(chunk, at, to)
        this.#rest -= to - at
        return to
      }
    }
  }

  /** Whether the present value is one of those that a frame has. */
  get #isFirst(): boolean {
    return this.#open.length === 1 && this.#first.length < KEPT_ELEMENTS
  }

  #keep(chunk: Uint8Array, from: number, to: number): void {
    if (this.#text.length <= KEPT_CHARACTERS) this.#text += textOf(chunk, from, to)
  }

  #begin(type: string): void {
    if (!"+-:$*".includes(type)) throw new Error(`it sent a message that begins with ${JSON.stringify(type)}`)
    this.#type = type
    this.#text = ""
    this.#reads = "line"
  }

  #lineEnded(): void {
    this.#reads = "rest"
    this.#rest = 1
    if (this.#type !== "$" && this.#type !== "*") return
    if (!/^(?:-1|\d{1,10})$/.test(this.#text)) throw new Error(`it sent the length ${JSON.stringify(this.#text)}`)
    this.#length = Number(this.#text)
    this.#text = ""
    if (this.#type === "*") {
      this.#elements += Math.max(0, this.#length)
    } else if (this.#length >= 0) {
      this.#rest = 1 + this.#length + 2
    }
    this.#checkSize(this.#rest)
  }

  #checkSize(more: number): void {
    const { bytes, elements } = this.#limits
    if (this.#bytes + more > bytes) throw new Error(`it sent more than ${bytes} bytes as one message`)
    if (this.#elements > elements) throw new Error(`it sent more than ${elements} elements as one message`)
  }

  #partEnded(): void {
    this.#reads = "type"
    const hasLength = this.#type === "$" || this.#type === "*"
    if (this.#type === "*" && this.#length > 0) {
      this.#open.push(this.#length)
      return
    }
    const isNull = hasLength && this.#length < 0
    // The line feed before a text is kept, too.
    if (this.#type === "$" && !isNull) this.#valueEnded(false, this.#text.slice(1, 1 + this.#length))
    else this.#valueEnded(isNull, this.#type === "+" ? this.#text.replace(/\n$/, "") : undefined)
  }

  #valueEnded(isNull: boolean, value: string | undefined): void {
    for (;;) {
      const depth = this.#open.length
      if (depth === 0) return this.#messageEnded(isNull)
      if (this.#isFirst) this.#first.push(value)
      if (--this.#open[depth - 1]! > 0) return
      this.#open.pop()
      value = undefined
      isNull = false
      this.#type = "*"
    }
  }

  #messageEnded(isNull: boolean): void {
    const frame: Frame = { type: this.#type, isNull, first: this.#first }
    this.#first = []
    this.#bytes = 0
    this.#elements = 0
    this.#onFrame(frame)
  }
}
