/**
 * The load of `bench:handshakes`, a process in the initiators' namespace: one IkeEndpoint and one socket per initiator, each
 * with an address and an identity of its own. In each batch everyone connects once, a bounded number at a time, while the
 * clock runs; then everyone deletes while it stands still, so that the responder's memory stays flat.
 *
 *     node handshake-load.js PLAN.json      prints a LoadResult as JSON
 */
import { readdirSync, readFileSync } from 'node:fs'
import { runCryptoJob } from '../src/crypto/jobs.ts'
import { parsePrivateKey, parsePublicKey } from '../src/crypto/keys.ts'
import { adoptAddon } from '../src/crypto/registry.ts'
import { silentLogger } from '../src/env.ts'
import type { Datagram, IkeEvent, PeerConfig } from '../src/ike/api.ts'
import { IkeEndpoint } from '../src/ike/endpoint.ts'
import { now } from '../src/io/clock.ts'
import type { NativeAddon, NativeIkeSocket } from '../src/io/native.ts'
import { systemRng } from '../src/io/rng.ts'
import { parseEspProposal, parseIkeProposal } from '../src/sa/proposal.ts'
import { fromCidr, type TrafficSelector } from '../src/sa/traffic-selector.ts'
import { ID_TYPE } from '../src/wire/iana.ts'
import { loadAddon } from './addon.ts'
import { type Initiator, type LoadPlan, type LoadResult, NATT_PORT, SUITE } from './handshake-plan.ts'

/** A request has been sent again several times by then. */
const HANDSHAKE_TIMEOUT_MS = 10_000

const env = { rng: systemRng, logger: silentLogger }
const fqdn = (name: string) => ({ idType: ID_TYPE.ID_FQDN, data: new TextEncoder().encode(name) })

function selector(prefix: string): TrafficSelector {
  const parsed = fromCidr(prefix)
  if (parsed === undefined) throw new TypeError(`no prefix: ${prefix}`)
  return parsed
}

function peerConfig(plan: LoadPlan, initiator: Initiator): PeerConfig {
  const { auth } = initiator
  const psk = (secret: string) => ({ kind: 'psk', secret: new TextEncoder().encode(secret) }) as const
  return {
    name: 'responder',
    remote: { family: 4, address: plan.responder.address, port: NATT_PORT },
    localId: fqdn(initiator.id),
    remoteId: fqdn(plan.responder.id),
    localAuth: auth.kind === 'psk' ? psk(auth.secret) : { kind: 'publicKey', key: parsePrivateKey(auth.privatePem) },
    remoteAuth: auth.kind === 'psk' ? psk(auth.secret) : { kind: 'publicKey', key: parsePublicKey(auth.peerPem) },
    ikeProposals: [parseIkeProposal(plan.ike)],
    livenessMs: 60_000,
    tunnels: [
      {
        name: 'net',
        localSelectors: [selector(initiator.prefix)],
        remoteSelectors: [selector(plan.responder.prefix)],
        espProposals: [parseEspProposal(SUITE.esp)],
        replayWindow: 64,
      },
    ],
  }
}

class Caller {
  readonly #endpoint: IkeEndpoint
  readonly #socket: NativeIkeSocket
  readonly #address: string
  #timer: NodeJS.Timeout | undefined
  #awaited: { readonly kind: IkeEvent['kind']; resolve(): void; reject(error: Error): void } | undefined
  #retransmits = 0

  constructor(plan: LoadPlan, initiator: Initiator, addon: NativeAddon) {
    const { address } = initiator
    this.#address = address
    this.#endpoint = new IkeEndpoint(
      { peers: [peerConfig(plan, initiator)], ports: { ike: 500, natt: NATT_PORT } },
      env,
    )
    const local = { family: 4, address, port: NATT_PORT } as const
    const fd = addon.openUdp({ family: 4, address, port: NATT_PORT, mark: 0, reusePort: false, esp: false })
    this.#socket = addon.ikeSocket(fd, 4, (data, _, remoteAddress, remotePort) => {
      const remote = { family: 4, address: remoteAddress, port: remotePort } as const
      this.#endpoint.handleDatagram({ local, remote, data }, now())
      this.#drain()
    })
  }

  get retransmits(): number {
    return this.#retransmits
  }

  /** IKE_SA_INIT and IKE_AUTH; done when the Child SA would be installed. */
  connect(): Promise<void> {
    return this.#until('install-child-sa', () => this.#endpoint.initiate('responder', now()))
  }

  disconnect(): Promise<void> {
    return this.#until('ike-sa-closed', () => this.#endpoint.terminate('responder', now()))
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#socket.close()
  }

  #until(kind: IkeEvent['kind'], begin: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = () => reject(new Error(`${this.#address}: no ${kind} within ${HANDSHAKE_TIMEOUT_MS} ms`))
      const deadline = setTimeout(fail, HANDSHAKE_TIMEOUT_MS)
      this.#awaited = {
        kind,
        resolve: () => {
          clearTimeout(deadline)
          resolve()
        },
        reject,
      }
      begin()
      this.#drain()
    })
  }

  #drain(): void {
    for (let event = this.#endpoint.pollEvent(); event; event = this.#endpoint.pollEvent()) this.#handle(event)
    for (let out = this.#endpoint.pollTransmit(); out; out = this.#endpoint.pollTransmit()) this.#send(out)
    clearTimeout(this.#timer)
    const next = this.#endpoint.pollTimeout()
    if (next === undefined) return
    this.#timer = setTimeout(() => this.#wake(), Math.max(1, next.at - now()))
  }

  #wake(): void {
    this.#endpoint.handleTimeout(now())
    this.#drain()
  }

  #send({ remote, data }: Datagram): void {
    this.#socket.send(data, '', remote.address, remote.port)
  }

  #handle(event: IkeEvent): void {
    if (event.kind === 'crypto-job') this.#endpoint.completeJob(event.id, runCryptoJob(event.job), now())
    if (event.kind === 'retransmit') this.#retransmits += 1
    const awaited = this.#awaited
    if (awaited === undefined) return
    if (event.kind === awaited.kind) {
      this.#awaited = undefined
      awaited.resolve()
    } else if (event.kind === 'ike-sa-closed' || event.kind === 'tunnel-failed') {
      awaited.reject(new Error(`${this.#address}: ${event.failure.text}`))
    }
  }
}

/** Everyone once, at most `concurrency` at a time. */
async function each(callers: readonly Caller[], concurrency: number, step: (caller: Caller) => Promise<void>) {
  const waiting = callers.values()
  const lane = async () => {
    for (const caller of waiting) await step(caller)
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
}

/** CPU seconds of all threads of a process so far; the scheduler counts nanoseconds where /proc/PID/stat counts ticks. */
function cpuSeconds(pid: number): number {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map((task) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]),
  )
  return nanoseconds.reduce((sum, one) => sum + one, 0) / 1e9
}

async function measure(plan: LoadPlan, callers: readonly Caller[]): Promise<LoadResult> {
  const total = { handshakes: 0, seconds: 0, responderCpu: 0, loadCpu: 0 }
  const warmUntil = now() + plan.warmSeconds * 1000
  while (total.seconds < plan.seconds) {
    const isWarm = now() >= warmUntil
    const before = { at: now(), responder: cpuSeconds(plan.responder.pid), load: cpuSeconds(process.pid) }
    await each(callers, plan.concurrency, (caller) => caller.connect())
    if (isWarm) {
      total.handshakes += callers.length
      total.seconds += (now() - before.at) / 1000
      total.responderCpu += cpuSeconds(plan.responder.pid) - before.responder
      total.loadCpu += cpuSeconds(process.pid) - before.load
    }
    await each(callers, plan.concurrency, (caller) => caller.disconnect())
  }
  return { ...total, retransmits: callers.reduce((sum, caller) => sum + caller.retransmits, 0) }
}

const plan = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as LoadPlan
const addon = await loadAddon()
adoptAddon(addon)
const callers = plan.initiators.map((initiator) => new Caller(plan, initiator, addon))
const result = await measure(plan, callers)
for (const caller of callers) caller.close()
process.stdout.write(`${JSON.stringify(result)}\n`)
