/** The changes that a storage announces, for combinations that outlive an interruption of its stream. */
import * as Stream from "effect/Stream"
import { backgroundSleep } from "../internal/Clock.ts"
import type { Announcement, Storage } from "../Storage/Storage.ts"

/** Subscribes again one second after the stream has ended or failed: another storage's changes go on meanwhile. */
export const changesOf = ({ changes }: Storage): Stream.Stream<Announcement> =>
  Stream.suspend(() => changes).pipe(
    Stream.catchCause(() => Stream.empty),
    Stream.concat(Stream.fromEffectDrain(backgroundSleep("1 second"))),
    Stream.forever
  )
