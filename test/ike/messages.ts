/** Messages that a test sends by hand, and where it sends them. */
import { ke } from '../../src/crypto/registry.ts'
import type { Datagram } from '../../src/ike/api.ts'
import { natDetectionNotifies } from '../../src/ike/nat-detection.ts'
import { signatureHashNotify } from '../../src/ike/payloads.ts'
import type { SocketAddress } from '../../src/sa/child-sa.ts'
import { toWireProposals } from '../../src/sa/negotiate.ts'
import { parseIkeProposal } from '../../src/sa/proposal.ts'
import { addNonEspMarker } from '../../src/wire/esp.ts'
import { EXCHANGE_TYPE, PROTOCOL, TRANSFORM_TYPE } from '../../src/wire/iana.ts'
import type { IkeHeader, Payload } from '../../src/wire/ike-types.ts'
import type { SimHost } from '../sim/host.ts'
import { PLAIN_IKE_PROPOSALS } from '../sim/pair.ts'
import { SeededRng } from '../sim/seeded-rng.ts'

/** Public values and nonces by method and seed: a flood of strangers must not cost the test what it spares the responder. */
const made = new Map<string, { readonly publicKey: Uint8Array; readonly nonce: Uint8Array }>()

function strangerOf(method: number, seed: number) {
  const key = `${method} ${seed}`
  const known = made.get(key)
  if (known !== undefined) return known
  const algorithm = ke(method)
  if (algorithm === undefined) throw new TypeError('no key exchange')
  const rng = new SeededRng(seed)
  const fresh = { publicKey: algorithm.publicFrom(algorithm.generatePrivate(rng)), nonce: rng.bytes(32) }
  made.set(key, fresh)
  return fresh
}

/** A sound IKE_SA_INIT request of a stranger to `to`. */
export function initRequest(
  initiatorSpi: bigint,
  to: SocketAddress,
  options: { readonly seed?: number; readonly words?: string } = {},
): { readonly header: IkeHeader; readonly payloads: Payload[] } {
  const suites = options.words === undefined ? PLAIN_IKE_PROPOSALS : [parseIkeProposal(options.words)]
  const method = suites[0]?.transforms.find((t) => t.type === TRANSFORM_TYPE.KE)?.id ?? 0
  const { publicKey, nonce } = strangerOf(method, options.seed ?? 1)
  const header = {
    initiatorSpi,
    responderSpi: 0n,
    exchangeType: EXCHANGE_TYPE.IKE_SA_INIT,
    fromOriginalInitiator: true,
    isResponse: false,
    messageId: 0,
  }
  const payloads: Payload[] = [
    { type: 'SA', proposals: toWireProposals(suites, PROTOCOL.IKE, new Uint8Array(0)) },
    { type: 'KE', method, data: publicKey },
    { type: 'Nonce', data: nonce },
    ...natDetectionNotifies(header, to),
    signatureHashNotify([2, 3, 4, 5]),
  ]
  return { header, payloads }
}

/** Puts an IKE message before a host as if `from` had sent it, on port 4500 unless told otherwise. */
export function deliver(
  host: SimHost,
  message: Uint8Array,
  from: { readonly address: string; readonly port?: number },
  now: number,
  port = 4500,
): void {
  host.receive(
    {
      local: { family: 4, address: host.address, port },
      remote: { family: 4, address: from.address, port: from.port ?? port },
      data: port === 500 ? message : addNonEspMarker(message),
    } satisfies Datagram,
    now,
  )
}
