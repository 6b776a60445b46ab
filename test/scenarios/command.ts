/** One command of a scenario: its words, and its options with their values. */
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

export const millisOf = (text: string): number => {
  const [, amount, unit] = /^([+-]?\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? []
  if (amount === undefined) throw new Error(`"${text}" is no duration such as 50ms, 1s, 2m or 1h`)
  return Number(amount) * UNITS[unit!]!
}

export class Command {
  readonly name: string
  readonly #words: Array<string> = []
  readonly #options = new Map<string, string>()

  constructor(line: string) {
    const [name = "", ...words] = line.split(/ +/)
    this.name = name
    for (const word of words) {
      const [, option, value] = /^(\w+)=(.+)$/.exec(word) ?? []
      if (option === undefined) this.#words.push(word)
      else this.#options.set(option, value!)
    }
  }

  /** Takes the next word. */
  word(): string {
    const word = this.#words.shift()
    if (word === undefined) throw new Error("a word is missing")
    return word
  }

  /** Takes the next word, which is a whole number. */
  integer(): number {
    const word = this.word()
    if (!/^\d+$/.test(word)) throw new Error(`"${word}" is no whole number`)
    return Number(word)
  }

  /** Takes all words that are left. */
  words(): ReadonlyArray<string> {
    return this.#words.splice(0)
  }

  /** Takes a word wherever it stands. Returns whether it was there. */
  has(word: string): boolean {
    const at = this.#words.indexOf(word)
    if (at !== -1) this.#words.splice(at, 1)
    return at !== -1
  }

  /** Takes a word such as `x5` and returns its number, or 1 if there is none. */
  times(): number {
    const at = this.#words.findIndex((word) => /^x\d+$/.test(word))
    return at === -1 ? 1 : Number(this.#words.splice(at, 1)[0]!.slice(1))
  }

  option(name: string): string | undefined {
    const value = this.#options.get(name)
    this.#options.delete(name)
    return value
  }

  number(name: string): number | undefined {
    const value = this.option(name)
    return value === undefined ? undefined : Number(value)
  }

  millis(name: string): number | undefined {
    const value = this.option(name)
    return value === undefined ? undefined : millisOf(value)
  }

  /** Throws if a word or an option is left. */
  end(): void {
    const left = [...this.#words, ...this.#options.keys()]
    if (left.length > 0) throw new Error(`unknown: ${left.join(", ")}`)
  }
}
