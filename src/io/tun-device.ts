/**
 * The TUN device: opened by the addon, set up with iproute2. It lives as long as its descriptor; closing it takes the
 * device, its addresses and the routes over it away. Property names follow the tuntap2 package.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { TsvpnError } from '../errors.ts'
import { batchWord, type Family, ipBatch, ipBatchAsync } from './iproute.ts'
import { LEAST_MTU } from './mtu.ts'
import type { NativeAddon, TunFeatures } from './native.ts'

export interface DeviceAddress {
  readonly family: Family
  readonly address: string
  readonly prefixLength: number
}

type TunAddon = Pick<NativeAddon, 'openTun' | 'closeFd' | 'setInnerMtu'>

/** Errors of opening, by errno. */
function openFailure(name: string, error: unknown): TsvpnError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const failures: Readonly<Record<string, () => TsvpnError>> = {
    EBUSY: () =>
      new TsvpnError('TSVPN_INTERFACE_TAKEN', `interface ${name} exists already and belongs to another program`, {
        cause: error,
        hint: `see "ip link show ${name}"; choose another name with interface.name`,
      }),
    EPERM: () =>
      new TsvpnError('TSVPN_NOT_ROOT', `opening interface ${name} needs root (CAP_NET_ADMIN)`, {
        cause: error,
        hint: 'run it with sudo',
      }),
    ENOENT: () => noTun(error),
    ENODEV: () => noTun(error),
    ENXIO: () => noTun(error),
    EACCES: () => noTun(error),
  }
  return (
    failures[code]?.() ??
    new TsvpnError('TSVPN_SYSTEM', `interface ${name} cannot be opened: ${String(error)}`, { cause: error })
  )
}

const noTun = (cause: unknown) =>
  new TsvpnError('TSVPN_NO_TUN', '/dev/net/tun is missing or closed to us, so no interface can be made', {
    cause,
    hint: 'load the driver: modprobe tun; in a container: docker run --device /dev/net/tun --cap-add NET_ADMIN',
  })

export class TunDevice {
  readonly name: string
  /** One for each queue. */
  readonly fds: readonly number[]
  readonly ifIndex: number
  readonly features: TunFeatures
  readonly #addon: TunAddon
  #addresses: readonly DeviceAddress[] = []
  #mtu = 1500
  #isUp = false
  #isOpen = true

  /** @throws TsvpnError TSVPN_NO_TUN, TSVPN_NOT_ROOT, TSVPN_INTERFACE_TAKEN */
  constructor(addon: TunAddon, name: string, queues = 1) {
    if (!existsSync('/dev/net/tun')) throw noTun(undefined)
    this.#addon = addon
    try {
      const tun = addon.openTun(name, { queues })
      this.name = tun.name
      this.fds = tun.fds
      this.ifIndex = tun.ifIndex
      this.features = tun.features
    } catch (error) {
      throw openFailure(name, error)
    }
  }

  /** Octets. */
  get mtu(): number {
    return this.#mtu
  }
  /** CIDR, IPv4. */
  get ipv4(): readonly string[] {
    return this.#of(4)
  }
  get ipv6(): readonly string[] {
    return this.#of(6)
  }
  get isUp(): boolean {
    return this.#isUp
  }

  /**
   * Addresses, MTU and up, with one `ip` process per family in use. Addresses come without a prefix route: what goes into
   * the tunnel is decided by selectors, not by the length of an address.
   * @param families what this kernel can do; addresses of another family are left out
   */
  configure(addresses: readonly DeviceAddress[], mtu: number, families: readonly Family[]): void {
    this.#addresses = addresses.filter((address) => families.includes(address.family))
    const device = batchWord(this.name)
    this.#run(4, [
      // Before it is up: the kernel would talk router solicitations and multicast listener reports into the tunnel.
      ...(families.includes(6) ? [`link set dev ${device} addrgenmode none`] : []),
      `link set dev ${device} mtu ${Math.trunc(mtu)} up`,
      ...this.#of(4).map((cidr) => `address add ${batchWord(cidr)} dev ${device} noprefixroute`),
    ])
    this.#run(
      6,
      this.#of(6).map((cidr) => `address add ${batchWord(cidr)} dev ${device} nodad noprefixroute`),
    )
    this.#keepMtu(mtu)
    this.#isUp = true
  }

  /**
   * Hosts that turn IPv6 off by sysctl turn it off for new devices too, and then refuse its addresses and routes. Only
   * this device is changed, so there is nothing to put back.
   */
  allowIpv6(): void {
    const path = `/proc/sys/net/ipv6/conf/${this.name}/disable_ipv6`
    try {
      if (readFileSync(path, 'latin1').trim() !== '0') writeFileSync(path, '0')
    } catch {
      // A read-only /proc/sys: adding the address says what is wrong.
    }
  }

  /**
   * Other addresses while traffic flows. Those that are new come with `add`; those that are gone go with `drop`, which takes
   * the routes along that have them as their source, and, as the kernel does, later addresses of the same prefix: all that
   * stay are set once more. @throws TsvpnError when the kernel refuses
   */
  async changeAddresses(
    addresses: readonly DeviceAddress[],
    families: readonly Family[],
    phase: 'add' | 'drop',
  ): Promise<void> {
    const next = addresses.filter((address) => families.includes(address.family))
    const device = batchWord(this.name)
    for (const family of families) {
      const wanted = next.filter((address) => address.family === family).map(cidr)
      const options = family === 6 ? 'nodad noprefixroute' : 'noprefixroute'
      const set = wanted.map((text) => `address replace ${batchWord(text)} dev ${device} ${options}`)
      const gone = phase === 'drop' ? this.#of(family).filter((text) => !wanted.includes(text)) : []
      const { failures } = await ipBatchAsync(family, [
        ...gone.map((text) => `address del ${batchWord(text)} dev ${device}`),
        ...(phase === 'add' || gone.length > 0 ? set : []),
      ])
      const [failure] = failures
      if (failure !== undefined) throw new TsvpnError('TSVPN_SYSTEM', `ip ${failure.command}: ${failure.error}`)
    }
    this.#addresses =
      phase === 'drop' ? next : [...next, ...this.#addresses.filter((old) => !next.some((a) => cidr(a) === cidr(old)))]
  }

  /** Changes the MTU while IKE runs. @throws TsvpnError when the kernel refuses */
  async setMtu(mtu: number): Promise<void> {
    const { failures } = await ipBatchAsync(4, [`link set dev ${batchWord(this.name)} mtu ${Math.trunc(mtu)}`])
    const [failure] = failures
    if (failure !== undefined) throw new TsvpnError('TSVPN_SYSTEM', `ip ${failure.command}: ${failure.error}`)
    this.#keepMtu(mtu)
  }

  /** The device disappears. Safe to call twice. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#isUp = false
    for (const fd of this.fds) this.#addon.closeFd(fd)
  }

  /** The datapath pads up to it. */
  #keepMtu(mtu: number): void {
    this.#mtu = mtu
    this.#addon.setInnerMtu(mtu)
  }

  #of(family: Family): string[] {
    return this.#addresses.filter((address) => address.family === family).map(cidr)
  }

  #run(family: Family, lines: readonly string[]): void {
    const [failure] = ipBatch(family, lines).failures
    if (failure !== undefined) throw new TsvpnError('TSVPN_SYSTEM', `ip ${failure.command}: ${failure.error}`)
  }
}

/** IPv6 inner traffic needs 1280; below that the kernel turns IPv6 off on the device. */
export const leastMtu = (hasIpv6: boolean) => (hasIpv6 ? LEAST_MTU[6] : LEAST_MTU[4])

const cidr = ({ address, prefixLength }: DeviceAddress): string => `${address}/${Math.trunc(prefixLength)}`
