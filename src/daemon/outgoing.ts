/** IKE messages to the sockets: from the address that the IKE SA uses, or, when that is gone, from any. */
import type { Datagram } from '../ike/api.ts'
import type { UdpSockets } from '../io/udp.ts'

/** What the kernel says of a source address that this host has no longer, or that has no way to the peer any more. */
const SOURCE_IS_GONE: readonly (string | 0)[] = ['EADDRNOTAVAIL', 'ENETUNREACH', 'EINVAL']

/**
 * An address that went with its network would keep every message in, even those that ask whether the peer is there: the
 * second try leaves the choice to the kernel, and the peer sees where it comes from.
 * @returns 0, or the errno name of the last try
 */
export function sendFromSomewhere(sockets: Pick<UdpSockets, 'send'>, datagram: Datagram): string | 0 {
  const { data, local, remote, isWhole } = datagram
  const send = (source: string) =>
    sockets.send(data, remote.family, source, local.port, remote.address, remote.port, isWhole)
  const outcome = send(local.address)
  return local.address !== '' && SOURCE_IS_GONE.includes(outcome) ? send('') : outcome
}
