/**
 * A scripted peer on a lab host: an IKE endpoint and ESP twin of ours in the test process, with its UDP ports in the lab.
 * It connects to a daemon as any peer does, in real time; from then on the test holds the keys and says what it likes.
 */
import type { Datagram, PeerConfig } from '../../../src/ike/api.ts'
import { addNonEspMarker } from '../../../src/wire/esp.ts'
import type { IkeHeader, IkeMessage, Payload } from '../../../src/wire/ike-types.ts'
import { SimHost } from '../../sim/host.ts'
import { ikeIn, KeyRing } from '../../sim/key-ring.ts'
import { SeededRng } from '../../sim/seeded-rng.ts'
import { waitUntil } from './process.ts'
import type { UdpPort } from './udp-port.ts'

/** Every stub has SPIs and nonces of its own. */
let seeds = process.pid

export class Stub {
  readonly host: SimHost
  readonly keys = new KeyRing()
  readonly port: UdpPort
  #isMuted = false
  #timer: NodeJS.Timeout | undefined

  constructor(port: UdpPort, config: PeerConfig) {
    this.port = port
    const rng = new SeededRng(seeds++)
    this.host = new SimHost('stub', port.address, [config], rng, { keyLog: this.keys })
    port.onReceived = (datagram) => {
      if (this.#isMuted) return
      this.host.receive(datagram, performance.now())
      this.#drain()
    }
  }

  async connect(peer: string): Promise<void> {
    this.host.endpoint.initiate(peer, performance.now())
    this.#drain()
    await waitUntil('a Child SA of the stub', () => this.host.installed.size > 0)
  }

  /** The test speaks for it: the endpoint hears nothing, and its timers stand still. */
  mute(): void {
    this.#isMuted = true
    clearTimeout(this.#timer)
  }

  /** The header of a request on its IKE SA. */
  header(messageId: number, exchangeType: number, more: Partial<IkeHeader> = {}): IkeHeader {
    const [ike] = this.host.endpoint.snapshot()
    if (ike === undefined) throw new Error('the stub is not connected')
    return {
      initiatorSpi: BigInt(`0x${ike.initiatorSpi}`),
      responderSpi: BigInt(`0x${ike.responderSpi}`),
      exchangeType,
      fromOriginalInitiator: true,
      isResponse: false,
      messageId,
      ...more,
    }
  }

  /** Sends an IKE message on the path of its IKE SA. */
  say(message: Uint8Array): void {
    const [ike] = this.host.endpoint.snapshot()
    if (ike === undefined) throw new Error('the stub is not connected')
    this.port.send({ ...ike.path, data: addNonEspMarker(message) })
  }

  /** Sends octets and waits for the IKE message that answers this Message ID. */
  async ask(message: Uint8Array, messageId: number): Promise<IkeMessage> {
    const from = this.port.received.length
    this.say(message)
    const isAnswer = (datagram: Datagram) => {
      const header = ikeIn(datagram)?.header
      return header?.isResponse === true && header.messageId === messageId
    }
    const answer = ikeIn(await this.port.next(`an answer to message ${messageId}`, isAnswer, from))
    if (answer === undefined) throw new Error('unreachable: it was IKE a moment ago')
    return answer
  }

  /** @returns what stood inside an answer */
  read(message: IkeMessage): readonly Payload[] {
    const opened = this.keys.open(message)
    if (!opened?.ok) throw new Error('the answer is not sealed with the keys of this IKE SA')
    return opened.value
  }

  /** From now on the endpoint answers again, and keeps its timers. */
  unmute(): void {
    this.#isMuted = false
    this.#drain()
  }

  #drain(): void {
    const now = performance.now()
    for (const datagram of this.host.drain(now)) this.port.send(datagram)
    clearTimeout(this.#timer)
    const at = this.host.nextWake()
    if (at === undefined || this.#isMuted) return
    this.#timer = setTimeout(
      () => {
        this.host.wake(performance.now())
        this.#drain()
      },
      Math.max(0, at - now),
    )
  }
}
