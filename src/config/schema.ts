/**
 * The schema of peer.yaml in zod: which keys each section has, and which value each key wants. Sections are checked one
 * by one, so that a mistake in one peer does not hide those of another. What several keys mean together: peers.ts.
 */
import * as z from 'zod'
import * as l from './leaf.ts'
import type { SecretContext } from './secret-file.ts'
import { privateKeyReference, publicKeyValue, secretReference } from './secret-leaf.ts'

const text = (what: string) => ({ error: what })
const mapping = text('a mapping of keys to values')

export const topSchema = z.strictObject(
  {
    interface: z.unknown().optional(),
    listen: z.unknown().optional(),
    local: z.unknown().optional(),
    peers: z.unknown().optional(),
  },
  mapping,
)

export const interfaceSchema = z.strictObject(
  {
    name: l.leaf(l.interfaceName).optional(),
    addresses: l.listOf('addresses such as 10.1.0.1/24', l.interfaceAddress, { least: 0 }).optional(),
    mtu: l.leaf(l.integer('an MTU', 576, 65_520)).optional(),
    shards: l.leaf(l.integer('a number of threads', 1, 64)).optional(),
  },
  mapping,
)

/** Five seconds are for tests; a day is what an auditor accepts. */
const rekeyTime = l.duration(5_000, 7 * 86_400_000, '1h')

const port = l.integer('a UDP port', 1, 65_535)

export const listenSchema = z.strictObject(
  {
    addresses: l.listOf('local addresses such as 0.0.0.0 or "::"', l.listenAddress).optional(),
    ikePort: l.leaf(port).optional(),
    nattPort: l.leaf(port).optional(),
  },
  mapping,
)

export const localSchema = (context: SecretContext) =>
  z.strictObject(
    {
      id: l.leaf(l.identity).optional(),
      key: l.leaf(privateKeyReference(context), { secret: true }).optional(),
    },
    mapping,
  )

/** @param allowWeak what the peer's own `allowWeak` says */
export const peerSchema = (context: SecretContext, allowWeak: boolean) =>
  z.strictObject(
    {
      address: l.leaf(l.peerAddress),
      id: l.leaf(l.identity),
      psk: l.leaf(secretReference(context), { secret: true }).optional(),
      publicKey: l.leaf(publicKeyValue(context)).optional(),
      ppk: z
        .strictObject(
          {
            id: l.leaf(l.ppkId),
            secret: l.leaf(secretReference(context), { secret: true }),
            required: l.leaf(trueOrFalse).optional(),
          },
          text('a mapping such as { id: office-2026, secret: { file: office.ppk } }'),
        )
        .optional(),
      local: localSchema(context).optional(),
      allowWeak: l.leaf(trueOrFalse).optional(),
      splitTunnels: l.leaf(trueOrFalse).optional(),
      uniqueness: l.leaf(l.word(['replace', 'keep', 'never'])).optional(),
      pathMtu: l.leaf(l.word(['discover', 'probe', 'icmp', 'fixed'])).optional(),
      ike: z
        .strictObject(
          {
            proposals: l
              .listOf('proposals such as aes128gcm16-prfsha256-x25519', l.proposal('ike', allowWeak))
              .optional(),
            liveness: l.leaf(l.duration(1000, 86_400_000, '30s')).optional(),
            rekey: l.leaf(rekeyTime).optional(),
            reauth: l.leaf(rekeyTime).optional(),
            mobike: l.leaf(trueOrFalse).optional(),
            childless: l.leaf(l.word(['allow', 'prefer', 'never'])).optional(),
            onDead: l.leaf(l.word(['restart', 'clear', 'on-traffic'])).optional(),
            fragmentation: l.leaf(trueOrFalse).optional(),
          },
          mapping,
        )
        .optional(),
      tunnels: z.unknown().optional(),
    },
    mapping,
  )

export const tunnelSchema = (allowWeak: boolean) =>
  z.strictObject(
    {
      local: l.listOf('CIDR such as 10.1.0.0/16', l.selector).optional(),
      remote: l.listOf('CIDR such as 10.1.0.0/16', l.selector),
      start: l.leaf(l.word(['up', 'on-traffic', 'wait'])).optional(),
      esp: z
        .strictObject(
          {
            proposals: l.listOf('proposals such as aes128gcm16', l.proposal('esp', allowWeak)).optional(),
            df: l.leaf(l.word(['copy', 'set', 'clear'])).optional(),
            clampMss: l.leaf(trueOrFalse).optional(),
            replayWindow: l.leaf(l.integer('a number of packets', 0, 65_536)).optional(),
            dscp: l.leaf(l.wordOrInteger(['copy'], 'a DSCP', 0, 63)).optional(),
            ecn: l.leaf(l.word(['normal', 'compatibility'])).optional(),
            tfc: l.leaf(l.wordOrInteger(['mtu'], 'a number of bytes', 64, 65_000)).optional(),
            rekey: l.leaf(rekeyTime).optional(),
            rekeyBytes: l.leaf(l.integer('a number of bytes', 1_000_000, Number.MAX_SAFE_INTEGER)).optional(),
            rekeyPackets: l.leaf(l.integer('a number of packets', 1_000, Number.MAX_SAFE_INTEGER)).optional(),
          },
          mapping,
        )
        .optional(),
    },
    mapping,
  )

function trueOrFalse(value: unknown): boolean | l.Wrong {
  return typeof value === 'boolean' ? value : l.expected('true or false')
}

/** Keys that the design has and this version has not: a clear word instead of "unknown key". */
export const LATER: Readonly<Record<Section, readonly string[]>> = {
  top: ['pools', 'dns', 'pki', 'eap', 'certificate'],
  interface: ['routes', 'dns'],
  listen: [],
  local: ['certificate', 'eap', 'chain'],
  peer: ['certificate', 'eap', 'requestAddress', 'assignFrom', 'dns'],
  ike: [],
  tunnel: ['dns', 'pools', 'mode'],
  esp: [],
  ppk: [],
}

export type Section = 'top' | 'interface' | 'listen' | 'local' | 'peer' | 'ike' | 'tunnel' | 'esp' | 'ppk'
