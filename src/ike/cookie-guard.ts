/**
 * When COOKIE is asked for, how its secret grows old, and when a flood is large enough that the driver answers first
 * messages itself: the addon does it without JavaScript, and an honest peer's must not drown among them (THREATS #8).
 */
import type { Instant, Rng } from '../env.ts'
import type { IkeEvent } from './api.ts'
import { COOKIE_GUARD_MS, COOKIE_GUARD_PER_SECOND, COOKIE_ROTATION_MS } from './constants.ts'
import { CookieJar } from './cookie.ts'
import { Bucket } from './rate-limit.ts'
import type { Timers } from './timers.ts'

export class CookieGuard {
  readonly #jar: CookieJar
  readonly #owner: number
  readonly #timers: Timers
  readonly #emit: (event: IkeEvent) => void
  #calm: Bucket | undefined
  #isUp = false

  /** @param owner of the timers `cookieRotation` and `cookieGuard` */
  constructor(owner: number, rng: Rng, timers: Timers, emit: (event: IkeEvent) => void) {
    this.#jar = new CookieJar(rng)
    this.#owner = owner
    this.#timers = timers
    this.#emit = emit
  }

  /** What makes and checks cookies now. */
  jar(now: Instant): CookieJar {
    if (this.#timers.get(this.#owner, 'cookieRotation') === undefined) {
      // The secret rested since it was last needed: cookies of then are worth nothing now.
      this.#jar.renew()
      this.#timers.set(this.#owner, 'cookieRotation', now + COOKIE_ROTATION_MS)
    }
    return this.#jar
  }

  /** A cookie was given out. More than a few a second, and the driver shall do it for a while. */
  given(now: Instant): void {
    this.#calm ??= new Bucket(COOKIE_GUARD_PER_SECOND, now)
    if (this.#calm.take(now) || this.#isUp) return
    this.#isUp = true
    this.#timers.set(this.#owner, 'cookieGuard', now + COOKIE_GUARD_MS)
    this.#emit({ kind: 'cookie-guard', secret: this.#jar.secret })
  }

  /** @param isRush whether cookies are still asked for */
  rotate(isRush: boolean, now: Instant): void {
    this.#jar.rotate()
    if (isRush || this.#isUp) this.#timers.set(this.#owner, 'cookieRotation', now + COOKIE_ROTATION_MS)
    if (this.#isUp) this.#emit({ kind: 'cookie-guard', secret: this.#jar.secret })
  }

  /** Whether the flood goes on nobody here can see: when it does, the next few messages say so. */
  lower(): void {
    this.#isUp = false
    this.#emit({ kind: 'cookie-guard', secret: undefined })
  }
}
