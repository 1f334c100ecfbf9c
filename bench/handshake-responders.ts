/** The two that answer: a tsvpn daemon and Debian's charon, each with one peer per initiator of the cast. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { Host } from '../test/lab/lib/lab.ts'
import { waitUntil } from '../test/lab/lib/process.ts'
import { CHARON, CREDENTIAL_FOLDERS, PLUGINS } from '../test/lab/lib/strongswan.ts'
import { INNER } from '../test/lab/lib/topology.ts'
import { TsvpnHost } from '../test/lab/lib/tsvpn.ts'
import { type Cast, SUITE } from './handshake-plan.ts'

/** @returns the pid of the daemon */
export type StartResponder = (host: Host, cast: Cast) => Promise<number>

export const startTsvpn: StartResponder = async (host, cast) => {
  const tsvpn = new TsvpnHost(host)
  if (cast.responderPem !== undefined) tsvpn.write('own.key', cast.responderPem)
  const peers = cast.initiators.map(({ id, address, prefix, auth }) => {
    tsvpn.write(`${id}.auth`, auth.kind === 'psk' ? auth.secret : auth.publicPem)
    const file = { file: `${id}.auth` }
    const tunnel = {
      local: [cast.responder.prefix],
      remote: [prefix],
      start: 'wait',
      esp: { proposals: [SUITE.esp] },
    }
    const proof = auth.kind === 'psk' ? { psk: file } : { publicKey: file }
    return [id, { address, id, ...proof, ike: { proposals: [cast.ike] }, tunnels: { net: tunnel } }] as const
  })
  const document = {
    interface: { name: 'tsvpn0', addresses: [`${INNER.right[4].address}/24`] },
    local: { id: cast.responder.id, ...(cast.responderPem === undefined ? {} : { key: 'own.key' }) },
    peers: Object.fromEntries(peers),
  }
  tsvpn.write('peer.yaml', stringify(document))
  // Flags for node itself, such as --cpu-prof, which NODE_OPTIONS does not take.
  const { pid } = await tsvpn.start({ wrap: ['sh', '-c', 'exec "$0" $BENCH_NODE_FLAGS "$@"'] })
  return pid
}

export const startCharon: StartResponder = async (host, cast) => {
  const folder = join(host.folder, 'swanctl')
  for (const name of CREDENTIAL_FOLDERS) mkdirSync(join(folder, name), { recursive: true })
  const write = (path: string, text: string) => writeFileSync(path, text, { mode: 0o600 })
  write(join(host.folder, 'strongswan.conf'), STRONGSWAN_CONF)
  write(join(folder, 'swanctl.conf'), swanctlConf(cast))
  if (cast.responderPem !== undefined) write(join(folder, 'private/own.pem'), cast.responderPem)
  for (const { id, auth } of cast.initiators) {
    if (auth.kind !== 'publicKey') continue
    write(join(folder, `pubkey/${id}.pem`), auth.publicPem)
    write(join(folder, 'pubkey/own.pem'), auth.peerPem)
  }
  host.address('lo', `${INNER.right[4].address}/32`)
  const env = { STRONGSWAN_CONF: join(host.folder, 'strongswan.conf'), SWANCTL_DIR: folder }
  const charon = host.spawn([CHARON], { env, log: 'charon-output' })
  const isUp = async () => (await host.exec(['swanctl', '--stats'], { env })).code === 0
  await waitUntil(() => `charon; it printed:\n${charon.output}`, isUp, 10_000, 50)
  const loaded = await host.exec(['swanctl', '--load-all'], { env })
  if (loaded.code !== 0 || /failed/.test(loaded.stderr)) throw new Error(`swanctl --load-all: ${loaded.stderr}`)
  return charon.pid
}

/** No log, no routes and no limits per address: whatever could hold charon back here besides the handshakes is off. */
const STRONGSWAN_CONF = `charon {
  load = ${PLUGINS}
  dos_protection = no
  install_routes = no
  syslog { daemon { default = -1 } auth { default = -1 } }
  plugins { kernel-libipsec { allow_peer_ts = yes } }
}
swanctl { load = pem pkcs1 pkcs8 pubkey x509 openssl random }
`

function swanctlConf({ ike, responder, initiators }: Cast): string {
  const connections = initiators.map(({ id, address, prefix, auth }) => {
    const proof = (name: string) => (auth.kind === 'psk' ? 'auth = psk' : `auth = pubkey\n pubkeys = ${name}.pem`)
    return `${id} {
      version = 2
      encap = yes
      mobike = no
      local_addrs = ${responder.address}
      remote_addrs = ${address}
      proposals = ${ike}
      local {
        id = ${responder.id}
        ${proof('own')}
      }
      remote {
        id = ${id}
        ${proof(id)}
      }
      children {
        net {
          local_ts = ${responder.prefix}
          remote_ts = ${prefix}
          esp_proposals = ${SUITE.esp}
        }
      }
    }`
  })
  const secrets = initiators.flatMap(({ id, auth }) =>
    auth.kind === 'psk' ? [`ike-${id} {\n id-1 = ${responder.id}\n id-2 = ${id}\n secret = "${auth.secret}"\n }`] : [],
  )
  return `connections {\n${connections.join('\n')}\n}\nsecrets {\n${secrets.join('\n')}\n}\n`
}
