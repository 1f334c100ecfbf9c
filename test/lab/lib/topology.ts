/** The networks of the lab tests. Outer addresses are documentation prefixes (RFC 5737, RFC 3849), inner ones private. */
import type { Host, Lab } from './lab.ts'

/** Outer addresses of the two gateways when they share a segment. */
export const OUTER = {
  left: { 4: '192.0.2.1', 6: '2001:db8::1' },
  right: { 4: '192.0.2.2', 6: '2001:db8::2' },
} as const

/** What each side protects. */
export const INNER = {
  left: { 4: { address: '10.1.0.1', prefix: '10.1.0.0/24' }, 6: { address: 'fd01::1', prefix: 'fd01::/64' } },
  right: { 4: { address: '10.2.0.1', prefix: '10.2.0.0/24' }, 6: { address: 'fd02::1', prefix: 'fd02::/64' } },
} as const

export type Side = 'left' | 'right'
export const SIDES = ['left', 'right'] as const
export const otherSide = (side: Side): Side => (side === 'left' ? 'right' : 'left')

export type Sides = Readonly<Record<Side, Host>>

/** Two hosts joined by a veth pair. */
export function direct(lab: Lab): Sides {
  const sides = { left: lab.host('left'), right: lab.host('right') }
  lab.link(sides.left, 'eth0', sides.right, 'eth0')
  for (const side of SIDES) sides[side].address('eth0', `${OUTER[side][4]}/24`, `${OUTER[side][6]}/64`)
  return sides
}

/** As `direct`, with a third host `mallory` (192.0.2.3) on the segment. */
export function withThird(lab: Lab): Sides & { readonly mallory: Host } {
  const sides = { left: lab.host('left'), right: lab.host('right'), mallory: lab.host('mallory') }
  lab.segment('switch', [
    [sides.left, 'eth0'],
    [sides.right, 'eth0'],
    [sides.mallory, 'eth0'],
  ])
  for (const side of SIDES) sides[side].address('eth0', `${OUTER[side][4]}/24`, `${OUTER[side][6]}/64`)
  sides.mallory.address('eth0', '192.0.2.3/24')
  return sides
}

/** `left` (192.168.7.2) behind a NAT whose outside is 192.0.2.1; `right` is 192.0.2.2 and has no way back but the NAT. */
export function behindNat(lab: Lab): Sides & { readonly nat: Host } {
  const sides = { left: lab.host('left'), nat: lab.host('nat'), right: lab.host('right') }
  lab.link(sides.left, 'eth0', sides.nat, 'inside')
  lab.link(sides.nat, 'outside', sides.right, 'eth0')
  sides.left.address('eth0', '192.168.7.2/24')
  sides.nat.address('inside', '192.168.7.1/24')
  sides.nat.address('outside', `${OUTER.left[4]}/24`)
  sides.right.address('eth0', `${OUTER.right[4]}/24`)
  sides.left.route('default', '192.168.7.1')
  sides.nat.forwarding()
  sides.nat.masquerade('outside')
  return sides
}

/** Outer addresses of `routed`. */
export const ROUTED = {
  left: { 4: '192.0.2.1', 6: '2001:db8:1::1' },
  right: { 4: '203.0.113.2', 6: '2001:db8:2::2' },
} as const

export interface Routed extends Sides {
  readonly near: Host
  readonly far: Host
  /** MTU of the link between the routers, which have larger ones towards the hosts. */
  narrow(mtu: number): void
}

/** `left`, a router `near`, another one `far`, `right`; the way between the routers can be made narrow. Both families. */
export function routed(lab: Lab): Routed {
  const [left, near, far, right] = [lab.host('left'), lab.host('near'), lab.host('far'), lab.host('right')]
  lab.link(left, 'eth0', near, 'host')
  lab.link(near, 'way', far, 'way')
  lab.link(far, 'host', right, 'eth0')
  const routers = [
    [near, '192.0.2', '2001:db8:1', '198.51.100.1', '2001:db8:ff::1'],
    [far, '203.0.113', '2001:db8:2', '198.51.100.2', '2001:db8:ff::2'],
  ] as const
  for (const [router, v4, v6, way4, way6] of routers) {
    router.address('host', `${v4}.254/24`, `${v6}::fe/64`)
    router.address('way', `${way4}/24`, `${way6}/64`)
    router.forwarding()
  }
  near.route('default', '198.51.100.2')
  near.route('default', '2001:db8:ff::2')
  far.route('default', '198.51.100.1')
  far.route('default', '2001:db8:ff::1')
  for (const [host, side] of [
    [left, 'left'],
    [right, 'right'],
  ] as const) {
    host.address('eth0', `${ROUTED[side][4]}/24`, `${ROUTED[side][6]}/64`)
    host.route('default', side === 'left' ? '192.0.2.254' : '203.0.113.254')
    host.route('default', side === 'left' ? '2001:db8:1::fe' : '2001:db8:2::fe')
  }
  const narrow = (mtu: number) => {
    for (const router of [near, far]) router.ip('link', 'set', 'way', 'mtu', String(mtu))
  }
  return { left, near, far, right, narrow }
}

/** Outer addresses of `multiHomed`: two uplinks of `left`, one of `right`. */
export const UPLINKS = { eth0: '192.0.2.1', eth1: '198.51.100.1', right: '203.0.113.2' } as const

/** `left` with two uplinks to a router, the first preferred; `right` behind the same router. */
export function multiHomed(lab: Lab): Sides & { readonly router: Host } {
  const sides = { left: lab.host('left'), router: lab.host('router'), right: lab.host('right') }
  const { left, router, right } = sides
  const links = [
    [left, 'eth0', 'up0', '192.0.2'],
    [left, 'eth1', 'up1', '198.51.100'],
    [right, 'eth0', 'up2', '203.0.113'],
  ] as const
  for (const [host, name, port, network] of links) {
    lab.link(host, name, router, port)
    router.address(port, `${network}.254/24`)
  }
  router.forwarding()
  left.address('eth0', `${UPLINKS.eth0}/24`)
  left.address('eth1', `${UPLINKS.eth1}/24`)
  left.ip('route', 'add', 'default', 'via', '192.0.2.254', 'metric', '100')
  left.ip('route', 'add', 'default', 'via', '198.51.100.254', 'metric', '200')
  right.address('eth0', `${UPLINKS.right}/24`)
  right.route('default', '203.0.113.254')
  return sides
}

/** Two gateways, each with a LAN behind it: hosts `leftLan` (10.1.0.10, fd01::10) and `rightLan` (10.2.0.10, fd02::10). */
export function sites(lab: Lab): Sides & { readonly leftLan: Host; readonly rightLan: Host } {
  const gateways = direct(lab)
  const lans = { left: lab.host('leftLan'), right: lab.host('rightLan') }
  for (const side of SIDES) {
    const [gateway, lan] = [gateways[side], lans[side]]
    lab.link(gateway, 'lan', lan, 'eth0')
    const [v4, v6] = [INNER[side][4], INNER[side][6]]
    gateway.address('lan', `${v4.address}/24`, `${v6.address}/64`)
    lan.address('eth0', `${v4.address}0/24`, `${v6.address}0/64`)
    lan.route('default', v4.address)
    lan.route('default', v6.address)
    gateway.forwarding()
  }
  return { ...gateways, leftLan: lans.left, rightLan: lans.right }
}
