/** An independent reader of what we send: tshark decrypts IKE and ESP with the keys we export, and finds nothing malformed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CAPTURE_TOOLS, Capture, Tshark } from './lib/capture.ts'
import { configurePair } from './lib/pair.ts'
import { waitUntil } from './lib/process.ts'
import { labDescribe, useLab } from './lib/suite.ts'
import { direct, INNER, SIDES } from './lib/topology.ts'
import { ping, transfer } from './lib/traffic.ts'
import { TSVPN_TOOLS } from './lib/tsvpn.ts'

/** Without ESN: this tshark does not know the high half of the sequence number, which the ICV covers. */
const SUITES = [
  { name: 'AES-128-GCM, Ed25519', auth: 'ed25519', ike: 'aes128gcm16-prfsha256-x25519', esp: 'aes128gcm16-noesn' },
  { name: 'AES-256-GCM, PSK', auth: 'psk', ike: 'aes256gcm16-prfsha384-ecp384', esp: 'aes256gcm16-noesn' },
  { name: 'AES-256-CBC, HMAC-SHA-256, PSK', auth: 'psk', ike: 'aes256-sha256-modp2048', esp: 'aes256-sha256-noesn' },
  {
    name: 'AES-128-GCM, ML-KEM-768',
    auth: 'psk',
    ike: 'aes128gcm16-prfsha256-x25519-ke1_mlkem768',
    esp: 'aes128gcm16-noesn',
  },
] as const

labDescribe('tshark reads a capture of ours', [...TSVPN_TOOLS, ...CAPTURE_TOOLS], () => {
  const lab = useLab((lab) => {
    const sides = direct(lab)
    // What leaves in one batch is cut before it is captured, not behind: tshark knows no UDP segmentation.
    for (const side of SIDES) sides[side].ip('link', 'set', 'eth0', 'gso_max_segs', '1')
    return sides
  })

  test.each(SUITES)('$name: IKE and ESP decrypt, nothing malformed', async ({ auth, ike, esp }) => {
    const { left, right } = lab()
    const capture = await new Capture(left, 'eth0', 'udp port 500 or udp port 4500').ready()
    const pair = configurePair({ left, right }, { auth, ike, esp })
    const keyLog = join(left.folder, `${esp}.keys`)
    await pair.right.start()
    await pair.left.start({ args: ['--key-log', keyLog] })
    await Promise.all(SIDES.map((side) => pair[side].up()))
    await ping(left, INNER.right[4].address, { count: 3, intervalSeconds: 0.05 })
    await ping(right, INNER.left[6].address, { count: 2, intervalSeconds: 0.05 })
    // Below one segment: a capture of a veth shows what the kernel cuts later as one large datagram.
    await transfer(left, right, INNER.right[4].address, 700)
    for (const side of SIDES) await pair[side].stop()
    await capture.stop()
    await waitUntil('the key log', () => existsSync(keyLog))

    const tshark = new Tshark(left.folder, capture.file, keyLog)
    expect(
      await tshark.rows(
        // It keeps one set of keys per IKE SA, the last: IKE_INTERMEDIATE (43) went under those of before.
        '(_ws.malformed || _ws.expert.severity == "Error") && !(isakmp.exchangetype == 43)',
        'frame.number',
        '_ws.expert.message',
      ),
    ).toEqual([])
    // IKE_SA_INIT 34 in clear; IKE_AUTH 35 and INFORMATIONAL 37 in SK (46), with what is inside.
    const ikeMessages = await tshark.rows('isakmp', 'isakmp.exchangetype', 'isakmp.typepayload')
    expect(ikeMessages.length).toBeGreaterThanOrEqual(6)
    const authMessages = ikeMessages
      .filter(([exchange]) => exchange === '35')
      .map(([, payloads]) => payloads?.split(','))
    expect(authMessages).toHaveLength(2)
    for (const payloads of authMessages)
      expect(payloads).toEqual(expect.arrayContaining(['46', '39', '33', '44', '45']))
    const informational = ikeMessages.filter(([exchange]) => exchange === '37')
    expect(informational.some(([, payloads]) => payloads?.split(',').includes('42'))).toBe(true)
    // ESP: what was sent is seen inside.
    expect((await tshark.rows('icmp', 'frame.number')).length).toBe(6)
    expect((await tshark.rows('icmpv6.type == 128 || icmpv6.type == 129', 'frame.number')).length).toBe(4)
    expect((await tshark.rows('tcp.flags.syn == 1', 'ip.dst')).length).toBe(2)
    expect(await tshark.rows('esp.icv_bad == 1', 'frame.number')).toEqual([])
    expect((await tshark.rows('esp.icv_good == 1', 'frame.number')).length).toBeGreaterThan(10)
  })
})
