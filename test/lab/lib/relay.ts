/**
 * Somebody on the path between two daemons: each is told that the other has the relay's address. IKE and ESP pass through
 * the hands of the test, where an impairment may do its harm; keys come from the key-log file of one of the daemons.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { Datagram } from '../../../src/ike/api.ts'
import { fromHex } from '../../../src/wire/bytes.ts'
import { ENCR } from '../../../src/wire/iana.ts'
import { Impairer } from '../../impair/impairer.ts'
import { IMPAIRMENTS, type ImpairmentName } from '../../impair/impairments.ts'
import { ikeIn, KeyRing } from '../../sim/key-ring.ts'
import type { Host } from './lab.ts'
import { UdpPort } from './udp-port.ts'

export class Relay {
  /** Every datagram that came, as its sender sent it. */
  readonly seen: Datagram[] = []
  readonly #port: UdpPort
  readonly #ends: readonly [string, string]
  readonly #timers = new Set<NodeJS.Timeout>()
  #impairer: Impairer | undefined
  #keyLog: string | undefined
  #keys = new KeyRing()

  private constructor(port: UdpPort, ends: readonly [string, string]) {
    this.#port = port
    this.#ends = ends
    port.onReceived = (datagram) => this.#pass(datagram)
  }

  /** @param ends addresses of the two daemons */
  static async open(host: Host, address: string, ends: readonly [string, string]): Promise<Relay> {
    return new Relay(await UdpPort.open(host, address), ends)
  }

  /** From now on this harm, until another one is named. @param keyLog file that a daemon writes its keys to (AES-GCM) */
  impair(name: ImpairmentName, keyLog: string): void {
    this.#keyLog = keyLog
    this.#keys = new KeyRing()
    this.#impairer = new Impairer(IMPAIRMENTS[name], this.#keys)
  }

  /** Messages that were harmed. */
  get struck(): number {
    return this.#impairer?.struck ?? 0
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    await this.#port.close()
  }

  /** As its sender sent it, had it known where the other end is. */
  #pass({ local, remote, data }: Datagram): void {
    const to = this.#ends.find((address) => address !== remote.address)
    if (to === undefined || !this.#ends.includes(remote.address)) return
    const sent = { local: remote, remote: { ...local, address: to }, data }
    this.seen.push(sent)
    this.#readKeys(sent)
    const onward = this.#impairer?.pass(sent) ?? [{ datagram: sent, delayMs: 0 }]
    for (const { datagram, delayMs } of onward) {
      if (delayMs === 0) this.#forward(datagram)
      else {
        const timer = setTimeout(() => {
          this.#timers.delete(timer)
          this.#forward(datagram)
        }, delayMs)
        this.#timers.add(timer)
      }
    }
  }

  #forward({ local, remote, data }: Datagram): void {
    this.#port.send({ local: { ...local, address: this.#port.address }, remote, data })
  }

  /** The line is in the file before the first message that needs it is sent. */
  #readKeys(datagram: Datagram): void {
    const message = ikeIn(datagram)
    if (message?.encrypted === undefined || this.#keyLog === undefined || !existsSync(this.#keyLog)) return
    if (this.#keys.entryOf(message.header) !== undefined) return
    for (const line of readFileSync(this.#keyLog, 'utf8').split('\n')) {
      const entry = entryOf(line)
      if (entry !== undefined) this.#keys.ike(entry)
    }
  }
}

/** A line of Wireshark's `ikev2_decryption_table`: SPIs, SK_ei, SK_er, cipher, SK_ai, SK_ar, integrity. */
function entryOf(line: string): Parameters<KeyRing['ike']>[0] | undefined {
  const bits = /AES-GCM-(\d+) with 16 octet ICV/.exec(line)?.[1]
  const [initiatorSpi, responderSpi, skEi, skEr] = line.split(',')
  if (bits === undefined || line.startsWith('"') || !initiatorSpi || !responderSpi || !skEi || !skEr) return undefined
  const none = new Uint8Array(0)
  return {
    initiatorSpi: BigInt(`0x${initiatorSpi}`),
    responderSpi: BigInt(`0x${responderSpi}`),
    skEi: fromHex(skEi),
    skEr: fromHex(skEr),
    skAi: none,
    skAr: none,
    encr: ENCR.ENCR_AES_GCM_16,
    encrKeyBits: Number(bits),
    integ: 0,
  }
}
