/** Options of the programs that test and measure. */

/**
 * A whole number of the command line. It throws a `RangeError` where the text is none or is out of range, because a program that runs
 * `NaN` rounds has found nothing and would say that all holds.
 */
export const wholeNumber = (
  option: string,
  text: string,
  { least, most = Number.MAX_SAFE_INTEGER }: { readonly least: number; readonly most?: number }
): number => {
  const value = text.trim() === "" ? NaN : Number(text)
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`
  throw new RangeError(`--${option} must be a whole number ${range}, and is ${JSON.stringify(text)}`)
}
