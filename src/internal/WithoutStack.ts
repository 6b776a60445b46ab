/**
 * Makes an error that has no stack. It is for errors that are kept: until somebody reads a stack, it keeps the functions that were
 * running, and with them what their call had in hand.
 */
export const withoutStack = <E>(make: () => E): E => {
  const limit: unknown = Reflect.get(Error, "stackTraceLimit")
  // `Reflect.set` does not throw where `Error` is frozen.
  Reflect.set(Error, "stackTraceLimit", 0)
  try {
    return make()
  } finally {
    Reflect.set(Error, "stackTraceLimit", limit)
  }
}
