/**
 * What `tsvpn up` prints: one line per start-up step with its duration, then a sentence when a tunnel carries traffic, then
 * one line per thing that happens. Pure: events in, lines out; it remembers only which tunnels were up before.
 */
import type { DaemonEvent } from '../control/api.ts'
import { assertNever } from '../errors.ts'
import { formatMs, printableDeep, type Style, shortList, tint } from './format.ts'
import { renderSteps } from './render-reload.ts'

export interface UpViewOptions extends Style {
  /** Says how to end it: with Ctrl-C, or with a command when detached. */
  readonly howToStop: string
  /** Peers that call us: after the start there is nothing to see until they do. */
  readonly awaited?: readonly string[]
  /** Peers that the first packet to them starts. */
  readonly onTraffic?: readonly string[]
}

/** Width of the text before the duration of a step. */
const STEP_WIDTH = 60
/** A peer that is silent is told at these attempts, not at each one. */
const TELL_AT: readonly number[] = [2, 4, 8, 16, 32, 64, 128, 256]

type EventOf<K extends DaemonEvent['kind']> = Extract<DaemonEvent, { kind: K }>

export class UpView {
  readonly #options: UpViewOptions
  readonly #seenUp = new Set<string>()
  readonly #down = new Set<string>()
  #toldHowToStop = false

  constructor(options: UpViewOptions) {
    this.#options = options
  }

  /**
   * @param event what the daemon says
   * @param clock local time such as `12:03:04`, put before lines of events that come later than the start
   */
  lines(event: DaemonEvent, clock = ''): string[] {
    return this.#render(printableDeep(event), clock)
  }

  #render(event: DaemonEvent, clock: string): string[] {
    switch (event.kind) {
      case 'step':
        return [this.#step(event)]
      case 'started':
        return this.#waiting(event)
      case 'peer-connecting':
        return event.attempt > 1
          ? [this.#later(clock, 'dim', '·', `${event.peer}: trying ${event.remote}, attempt ${event.attempt}`)]
          : []
      case 'peer-up':
        return this.#up(event, clock)
      case 'peer-failed':
        return [this.#later(clock, 'red', '✗', failed(event))]
      case 'peer-silent':
        if (!TELL_AT.includes(event.attempt)) return []
        return [
          this.#later(clock, 'yellow', '…', `${event.peer} does not answer (request sent ${event.attempt} times)`),
        ]
      case 'peer-down':
        this.#down.add(`${event.peer}/${event.tunnel}`)
        return [this.#later(clock, 'yellow', '!', `${tunnelName(event)} is down: ${event.text}`)]
      case 'peer-moved':
        return [this.#later(clock, 'dim', '·', `${event.peer} moved to ${event.endpoint}`)]
      case 'reloaded':
        return [
          this.#later(clock, 'dim', '·', `the changed configuration is applied, ${formatMs(event.ms)}:`),
          ...renderSteps(event.steps, this.#options),
        ]
      case 'warning':
        return [
          this.#later(clock, 'yellow', '!', event.text),
          ...(event.hint === null ? [] : [tint(this.#options, 'dim', `  ${event.hint}`)]),
        ]
      case 'stopped':
        return [`tsvpn is down: ${event.reason}.`]
      default:
        return assertNever(event, 'event')
    }
  }

  #step(event: EventOf<'step'>): string {
    const text = `${event.name} ${event.detail}`.trimEnd()
    const duration = formatMs(event.ms).padStart(8)
    return `${tint(this.#options, 'green', '✓')} ${text.padEnd(STEP_WIDTH)} ${tint(this.#options, 'dim', duration)}`
  }

  #waiting(event: EventOf<'started'>): string[] {
    const { awaited = [], onTraffic = [] } = this.#options
    const waits = [
      ...(awaited.length === 0 ? [] : [`waits for ${shortList(awaited)} to call`]),
      ...(onTraffic.length === 0 ? [] : [`waits for traffic to ${shortList(onTraffic)}`]),
    ]
    return waits.length === 0 ? [] : [`${event.interface} ${waits.join(', and ')}.${this.#howToStop()}`]
  }

  /** Said once. */
  #howToStop(): string {
    const { howToStop } = this.#options
    if (this.#toldHowToStop || howToStop === '') return ''
    this.#toldHowToStop = true
    return ` ${howToStop}`
  }

  #up(event: EventOf<'peer-up'>, clock: string): string[] {
    const key = `${event.peer}/${event.tunnel}`
    const again = this.#seenUp.has(key)
    const wasDown = this.#down.delete(key)
    this.#seenUp.add(key)
    // A new SA of a tunnel that stayed up (rekeying) is no news.
    if (again && !wasDown) return []
    const took = event.ms > 0 ? `, ${formatMs(event.ms)}` : ''
    const between = `${shortList(event.local)} ↔ ${shortList(event.remote)}`
    const sentence = `is up${again ? ' again' : ''}: ${between} via ${withoutPort(event.endpoint)}, ${event.suite}${took}.`
    const line = `${tint(this.#options, 'bold', tunnelName(event))} ${sentence}`
    if (again) return [`${stamp(clock)}${line}`]
    return [`${line}${this.#howToStop()}`]
  }

  #later(clock: string, color: 'dim' | 'red' | 'yellow', sign: string, text: string): string {
    return `${stamp(clock)}${tint(this.#options, color, sign)} ${text}`
  }
}

function failed(event: EventOf<'peer-failed'>): string {
  const subject = event.tunnel === null ? event.peer : tunnelName({ peer: event.peer, tunnel: event.tunnel })
  const next = event.retryInMs === null ? '' : `; next attempt in ${formatMs(event.retryInMs)}`
  return `${subject} is not up: ${event.text}${next}`
}

/** The peer's name says enough where it has one tunnel of a usual name. */
function tunnelName(event: { readonly peer: string; readonly tunnel: string }): string {
  return PLAIN_TUNNELS.includes(event.tunnel) ? event.peer : `${event.peer}/${event.tunnel}`
}
const PLAIN_TUNNELS: readonly string[] = ['lan', 'net', 'all', 'default', 'main']

/** The NAT port of a peer tells nobody anything. */
function withoutPort(endpoint: string): string {
  const match = /^\[(.+)\]:\d+$/.exec(endpoint) ?? /^([^:]+):\d+$/.exec(endpoint)
  return match?.[1] ?? endpoint
}

function stamp(clock: string): string {
  return clock === '' ? '' : `${clock} `
}
