/**
 * Nanoseconds to seal and to open one ESP packet, by inner size: the addon with each of its cipher backends (its own loop, one
 * call), the TypeScript twin, and one node:crypto cipher object per packet, which is what a datapath in JavaScript would do.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { pad } from '../src/esp/padding.ts'
import { espTransform } from '../src/esp/transform.ts'
import type { NativeAddon, NativeSaKeys } from '../src/io/native.ts'
import { ENCR } from '../src/wire/iana.ts'
import { summarize } from './statistics.ts'

export const SIZES = [64, 200, 576, 1400] as const

export interface SealRow {
  readonly implementation: string
  readonly operation: 'seal' | 'open'
  /** Nanoseconds per packet, in the order of SIZES. */
  readonly nanoseconds: readonly number[]
}

const keys: NativeSaKeys = {
  encr: ENCR.ENCR_AES_GCM_16,
  encrKeyBits: 128,
  integ: 0,
  esn: true,
  encrKey: new Uint8Array(randomBytes(20)),
  integKey: new Uint8Array(0),
}

/** Nanoseconds per call of `work` over about 200 ms, median of five. */
function time(work: () => void): number {
  let count = 1
  let elapsed = 0n
  const run = () => {
    const start = process.hrtime.bigint()
    for (let i = 0; i < count; i++) work()
    return process.hrtime.bigint() - start
  }
  while (elapsed < 40_000_000n) {
    count *= 2
    elapsed = run()
  }
  return summarize(Array.from({ length: 5 }, () => Number(run()) / count)).median
}

/** Each cipher backend in use, the one that tsvpn takes first. */
function nativeRows(addon: NativeAddon): SealRow[] {
  return addon.cryptoBackends
    .filter(({ whyNot }) => whyNot === null)
    .flatMap(({ name, version }) => {
      const measure = (bench: (keys: NativeSaKeys, size: number, count: number) => number) =>
        SIZES.map(
          (size) => summarize(Array.from({ length: 5 }, () => bench({ ...keys, backend: name }, size, 50_000))).median,
        )
      const implementation = `addon, ${version}`
      return [
        { implementation, operation: 'seal', nanoseconds: measure((...args) => addon.benchSeal(...args)) },
        { implementation, operation: 'open', nanoseconds: measure((...args) => addon.benchOpen(...args)) },
      ]
    })
}

function twinRows(): SealRow[] {
  const transform = espTransform(
    { encr: keys.encr, encrKeyBits: keys.encrKeyBits, integ: 0, esn: keys.esn },
    { encr: keys.encrKey, integ: keys.integKey },
  )
  const iv = new Uint8Array(transform.ivLength)
  const inner = SIZES.map((size) => new Uint8Array(size))
  const seal = (packet: Uint8Array) => transform.seal(0x1234, 1n, iv, pad(packet, 4, transform.alignment))
  const sealed = inner.map(seal)
  const implementation = 'TypeScript twin (noble)'
  return [
    { implementation, operation: 'seal', nanoseconds: inner.map((packet) => time(() => seal(packet))) },
    { implementation, operation: 'open', nanoseconds: sealed.map((packet) => time(() => transform.open(1n, packet))) },
  ]
}

function cipherRows(): SealRow[] {
  const key = keys.encrKey.subarray(0, 16)
  const nonce = new Uint8Array(12)
  const aad = new Uint8Array(12)
  const inner = SIZES.map((size) => new Uint8Array(size))
  const seal = (packet: Uint8Array) => {
    const cipher = createCipheriv('aes-128-gcm', key, nonce)
    cipher.setAAD(aad)
    const body = cipher.update(packet)
    cipher.final()
    return { body, tag: cipher.getAuthTag() }
  }
  const sealed = inner.map(seal)
  const implementation = 'node:crypto, one cipher a packet'
  return [
    { implementation, operation: 'seal', nanoseconds: inner.map((packet) => time(() => seal(packet))) },
    {
      implementation,
      operation: 'open',
      nanoseconds: sealed.map(({ body, tag }) =>
        time(() => {
          const decipher = createDecipheriv('aes-128-gcm', key, nonce)
          decipher.setAAD(aad)
          decipher.setAuthTag(tag)
          decipher.update(body)
          decipher.final()
        }),
      ),
    },
  ]
}

/**
 * AES-128-GCM with ESN, the default suite.
 * @param addon or why there is none
 * @returns rows, and what could not be measured and why
 */
export function sealRows(addon: NativeAddon | string): { rows: readonly SealRow[]; missing: readonly string[] } {
  const others = [...twinRows(), ...cipherRows()]
  if (typeof addon === 'string') return { rows: others, missing: [`addon: ${addon}`] }
  const unused = addon.cryptoBackends.flatMap(({ version, whyNot }) =>
    whyNot === null ? [] : [`${version}: not used, ${whyNot}`],
  )
  return { rows: [...nativeRows(addon), ...others], missing: unused }
}
