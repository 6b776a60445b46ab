/** The changes that a storage announces, for combinations that outlive an interruption of its stream. */
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { Announcement, Storage } from "../Storage/Storage.ts"

/** Subscribes again one second after the stream has ended or failed: another storage's changes go on meanwhile. */
export const changesOf = ({ changes }: Storage): Stream.Stream<Announcement> =>
  Stream.suspend(() => changes).pipe(
    Stream.concat(Stream.fail("ended")),
    Stream.catchCause(() => Stream.fail("ended")),
    Stream.retry(Schedule.spaced("1 second")),
    Stream.orDie
  )
