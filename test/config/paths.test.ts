/** Which file a name means, and how its interface is called. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { didYouMean, formatKey } from '../../src/config/diagnostics.ts'
import { configName, defaultInterfaceName, resolveConfigPath } from '../../src/config/paths.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tsvpn-paths-'))
  for (const name of ['office.yaml', 'branch.yml', 'peer.yaml']) writeFileSync(join(folder, name), '')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('a bare name is a file of the folder, a path is a path', () => {
  expect(resolveConfigPath('office', folder)).toBe(join(folder, 'office.yaml'))
  expect(resolveConfigPath('branch', folder)).toBe(join(folder, 'branch.yml'))
  expect(resolveConfigPath(undefined, folder)).toBe(join(folder, 'peer.yaml'))
  expect(resolveConfigPath(join(folder, 'office.yaml'), '/nowhere')).toBe(join(folder, 'office.yaml'))
})

test('what was tried is told', () => {
  expect(() => resolveConfigPath('none', folder)).toThrow(
    `no configuration none: tried ${folder}/none.yaml, ${folder}/none.yml`,
  )
  expect(() => resolveConfigPath('none.yaml', folder)).toThrow(`tried ${resolve('none.yaml')}`)
  expect(() => resolveConfigPath(undefined, '/nowhere')).toThrow(/no configuration found: tried .*\/peer\.yaml, /)
})

test.each([
  ['/etc/tsvpn/office.yaml', 'office'],
  ['site-to-site.yml', 'site-to-site'],
  ['a-name-of-sixteen.yaml', 'tsvpn0'],
  ['with space.yaml', 'tsvpn0'],
  ['default.yaml', 'tsvpn0'],
])('the interface of %s is %s', (file, name) => {
  expect(defaultInterfaceName(file)).toBe(name)
})

test('names and keys as text', () => {
  expect(configName('/a/b/office.yaml')).toBe('office')
  expect(formatKey(['peers', 'a.b', 'tunnels', 0, 'x'])).toBe('peers."a.b".tunnels[0].x')
  expect(didYouMean('adress', ['address', 'id'])).toBe('address')
  expect(didYouMean('pks', ['psk', 'id'])).toBe('psk')
  expect(didYouMean('completely', ['address', 'id'])).toBeUndefined()
})
