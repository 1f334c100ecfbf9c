/** The order of inputs and outputs, the one timer, and faults of the core that cost one input only. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Driver } from '../../src/daemon/driver.ts'
import { silentLogger } from '../../src/env.ts'
import type { Datagram, IkeEndpointApi, IkeEvent, TimerName } from '../../src/ike/api.ts'

const datagram = (octet: number): Datagram => ({
  data: Uint8Array.of(octet),
  local: { family: 4, address: '192.0.2.1', port: 500 },
  remote: { family: 4, address: '192.0.2.2', port: 500 },
})
const closed: IkeEvent = { kind: 'remove-child-sa', id: 1, peer: 'p', tunnel: 't', inboundSpi: 256 }

/** An endpoint that does what the test says. */
class Script implements IkeEndpointApi {
  readonly log: string[] = []
  readonly transmits: Datagram[] = []
  readonly events: IkeEvent[] = []
  at: number | undefined
  onDatagram: (d: Datagram) => void = () => {}
  onTimeout: (now: number) => void = () => {}
  startTunnel(): void {
    this.log.push('startTunnel')
  }
  initiate(): void {
    this.log.push('initiate')
  }
  setPeerRemote(): void {}
  localAddressesChanged(): void {}
  rekeyChild(): boolean {
    return false
  }
  rekeyIke(): boolean {
    return false
  }
  deleteChild(): boolean {
    return false
  }
  handleSoftLimit(): void {}
  handlePathNews(): void {}
  updatePeers(): void {}
  terminate(): void {}
  shutdown(): void {}
  resumed(): void {}
  handleDatagram(d: Datagram): void {
    this.log.push(`in ${d.data[0]}`)
    this.onDatagram(d)
  }
  handleTimeout(now: number): void {
    this.log.push('timeout')
    this.onTimeout(now)
  }
  completeJob(): void {}
  handleEndpointMoved(): void {}
  handleSelectorMismatch(): void {}
  pollTransmit(): Datagram | undefined {
    return this.transmits.shift()
  }
  pollEvent(): IkeEvent | undefined {
    return this.events.shift()
  }
  pollTimeout(): { at: number; reason: TimerName } | undefined {
    return this.at === undefined ? undefined : { at: this.at, reason: 'retransmit' }
  }
  snapshot() {
    return []
  }
}

function build(onEvent: (event: IkeEvent) => void = () => {}) {
  const script = new Script()
  const driver = new Driver({
    endpoint: script,
    logger: silentLogger,
    now: () => Date.now(),
    send: (d) => script.log.push(`out ${d.data[0]}`),
    onEvent: (event) => {
      script.log.push(event.kind)
      onEvent(event)
    },
  })
  return {
    script,
    driver,
    feed: (octet: number) => driver.input('datagram', (e, now) => e.handleDatagram(datagram(octet), now)),
  }
}

beforeEach(() => void vi.useFakeTimers({ now: 0 }))
afterEach(() => void vi.useRealTimers())

describe('outputs', () => {
  test('all are drained before the next input, also one that an output handler asks for', () => {
    const { script, driver, feed } = build((event) => {
      if (event.kind === 'remove-child-sa') driver.input('initiate', (e, now) => e.initiate('p', now))
    })
    script.onDatagram = () => {
      script.transmits.push(datagram(11), datagram(12))
      script.events.push(closed)
    }
    feed(1)
    expect(script.log).toEqual(['in 1', 'remove-child-sa', 'out 11', 'out 12', 'initiate'])
  })
})

describe('timer', () => {
  test('one, for the time the endpoint names, moved when it moves, none when it has none', () => {
    const { script, driver, feed } = build()
    script.at = 500
    feed(1)
    expect(vi.getTimerCount()).toBe(1)
    script.at = 200
    feed(2)
    expect(vi.getTimerCount()).toBe(1)
    script.onTimeout = () => {
      script.at = undefined
    }
    vi.advanceTimersByTime(199)
    expect(script.log).not.toContain('timeout')
    vi.advanceTimersByTime(1)
    expect(script.log).toContain('timeout')
    expect(vi.getTimerCount()).toBe(0)
    driver.close()
  })

  test('a timer that stays due does not spin', () => {
    const { script, feed } = build()
    script.at = 0
    feed(1)
    vi.advanceTimersByTime(100)
    expect(script.log.filter((entry) => entry === 'timeout').length).toBeLessThanOrEqual(100)
  })

  test('after close nothing goes in and nothing fires', () => {
    const { script, driver, feed } = build()
    script.at = 100
    feed(1)
    driver.close()
    feed(2)
    vi.advanceTimersByTime(1000)
    expect(script.log).toEqual(['in 1'])
  })
})

describe('faults of the core', () => {
  test('an exception costs its own datagram: counted, the next one works', () => {
    const { script, driver, feed } = build()
    script.onDatagram = (d) => {
      if (d.data[0] === 1) throw new TypeError('bug')
      script.transmits.push(datagram(20))
    }
    feed(1)
    feed(2)
    expect(driver.internalErrors).toBe(1)
    expect(script.log).toEqual(['in 1', 'in 2', 'out 20'])
  })

  test('an exception in an event handler does not lose the outputs behind it', () => {
    const { script, driver, feed } = build(() => {
      throw new Error('handler')
    })
    script.onDatagram = () => {
      script.events.push(closed, closed)
      script.transmits.push(datagram(30), datagram(31))
    }
    feed(1)
    expect(script.log.filter((entry) => entry === 'remove-child-sa')).toHaveLength(2)
    expect(script.log.filter((entry) => entry.startsWith('out'))).toHaveLength(2)
    expect(driver.internalErrors).toBe(2)
  })

  test('a timer handler that throws is asked again after a second, not at once', () => {
    const { script, feed } = build()
    script.at = 10
    script.onTimeout = () => {
      throw new Error('bug')
    }
    feed(1)
    vi.advanceTimersByTime(1000)
    expect(script.log.filter((entry) => entry === 'timeout')).toHaveLength(1)
    vi.advanceTimersByTime(1000)
    expect(script.log.filter((entry) => entry === 'timeout')).toHaveLength(2)
  })

  test('an endpoint that never runs dry, or always throws, gives the thread back', () => {
    const { script, driver, feed } = build()
    script.pollTransmit = () => {
      throw new Error('bug')
    }
    feed(1)
    expect(driver.internalErrors).toBe(100)
  })
})
