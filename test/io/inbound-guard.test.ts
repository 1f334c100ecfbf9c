/** The ruleset text; that nft takes it and that it drops is proven in test/lab/clear-text.test.ts. */
import { expect, test } from 'vitest'
import { guardRules } from '../../src/io/inbound-guard.ts'

const plan = {
  device: 't0',
  remote: ['10.0.0.0/8', '2001:db8::/32'],
  local: ['10.1.0.0/16'],
  exempt: ['10.1.0.0/16', '169.254.0.0/16'],
  ports: [500, 4500],
}

test('drops the remote side of each family that both sides have, but for our own networks', () => {
  const rules = guardRules(plan) ?? ''
  expect(rules).toContain('iifname { "lo", "t0" } accept')
  expect(rules).toContain('udp dport { 500, 4500 } accept')
  expect(rules).toContain('ip saddr @remote4 ip saddr != @exempt4 ip daddr @local4 counter drop')
  expect(rules).toContain('elements = { 10.1.0.0/16, 169.254.0.0/16 }')
  expect(rules).not.toContain('ip6 saddr')
})

test('everything is two halves', () => {
  const rules = guardRules({ ...plan, remote: ['0.0.0.0/0', '::/0'], local: ['::/0'], exempt: [] })
  expect(rules).toContain('elements = { ::/1, 8000::/1 }')
  expect(rules).toContain('ip6 saddr @remote6 ip6 daddr @local6 counter drop')
})

test('nothing to guard, no table; no word can end a line', () => {
  expect(guardRules({ ...plan, remote: [] })).toBeUndefined()
  expect(() => guardRules({ ...plan, remote: ['10.0.0.0 } ; flush ruleset #/8'] })).toThrow()
  expect(() => guardRules({ ...plan, device: 'a"b' })).toThrow(RangeError)
})
