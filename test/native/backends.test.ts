/**
 * Which cipher backend the addon takes in a process: none but EVP where intel-ipsec-mb is switched off, missing, of another
 * version or computes wrong, and then it says why. What both cost in memory.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type CryptoBackend, loadNative } from '../../src/io/native.ts'

const ADDON = fileURLToPath(new URL('../../native/build/Release/tsvpn.node', import.meta.url))
const built = existsSync(ADDON)
if (!built) console.warn('SKIPPED test/native/backends.test.ts: the addon is not built (npm run build:native)')

/** Runs JavaScript with `addon` in a process of its own. @returns what it returns, by way of JSON */
function inProcess<T>(body: string, env: Readonly<Record<string, string>> = {}): T {
  const script = `const addon = require(${JSON.stringify(ADDON)}); console.log(JSON.stringify((() => { ${body} })()))`
  const { TSVPN_AEAD: _, ...inherited } = process.env
  const args = ['--expose-gc', '-e', script]
  return JSON.parse(
    execFileSync(process.execPath, args, { env: { ...inherited, ...env }, encoding: 'utf8', stdio: 'pipe' }),
  )
}

interface Choice {
  readonly line: string
  readonly mb: CryptoBackend
  readonly evp: CryptoBackend
  /** Libraries of intel-ipsec-mb in the process. */
  readonly mapped: boolean
  /** A packet was sealed and opened. */
  readonly works: boolean
}

const KEYS =
  '{ encr: 20, encrKeyBits: 128, integ: 0, esn: true, encrKey: new Uint8Array(20), integKey: new Uint8Array(0) }'

const choice = (env: Readonly<Record<string, string>> = {}): Choice =>
  inProcess(
    `const [mb, evp] = addon.cryptoBackends
    const sealed = addon.espSeal(${KEYS}, 7, 1n, new Uint8Array(8), new Uint8Array(60).fill(0x45))
    const works = addon.espOpen(${KEYS}, 1n, sealed).inner?.length === 60
    const mapped = require('node:fs').readFileSync('/proc/self/maps', 'latin1').includes('libIPSec_MB')
    return { line: addon.cryptoBackend, mb, evp, mapped, works }`,
    env,
  )

// Each test starts processes, and some of them the compiler.
const PATIENCE = { timeout: 90_000 }

describe.skipIf(!built)('the choice of a cipher backend', PATIENCE, () => {
  test('TSVPN_AEAD=evp: nothing else is loaded', () => {
    const { line, mb, evp, mapped, works } = choice({ TSVPN_AEAD: 'evp' })
    expect(mb).toMatchObject({ whyNot: 'switched off by TSVPN_AEAD=evp', failed: false })
    expect({ line, mapped, works }).toEqual({ line: evp.version, mapped: false, works: true })
  })

  test('a value that is none is refused, and so is one that cannot be had', () => {
    expect(() => choice({ TSVPN_AEAD: 'openssl' })).toThrow(/TSVPN_AEAD: expected evp or ipsec-mb, got 'openssl'/)
  })

  test('and the loader says it as an error that users see', () => {
    // This process has not loaded the addon, and does not any more.
    vi.stubEnv('TSVPN_AEAD', 'aes')
    const message = "TSVPN_AEAD: expected evp or ipsec-mb, got 'aes'"
    expect(loadNative).toThrow(expect.objectContaining({ name: 'TsvpnError', code: 'TSVPN_CRYPTO', message }))
    vi.unstubAllEnvs()
  })

  describe('with a library', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsvpn-backends-'))
    afterAll(() => rmSync(folder, { recursive: true }))

    /** A folder with a library of that name, for LD_LIBRARY_PATH. */
    function place(name: string, make: (file: string) => void): Readonly<Record<string, string>> {
      const path = join(folder, name)
      mkdirSync(path)
      make(join(path, 'libIPSec_MB.so.1'))
      return { LD_LIBRARY_PATH: path }
    }
    function compile(source: string, file: string): void {
      writeFileSync(`${file}.cc`, source)
      execFileSync('g++', ['-shared', '-fPIC', '-o', file, `${file}.cc`, '-ldl'], { stdio: 'pipe' })
    }

    const inUse = built && choice().mb.whyNot === null
    const CI_WANTS = process.env.CI === 'true' && process.arch === 'x64'
    beforeAll(() => {
      if (!inUse && CI_WANTS) throw new Error(`intel-ipsec-mb is not tested: ${choice().mb.whyNot}`)
      if (!inUse) console.warn('SKIPPED: tests of the choice, for want of intel-ipsec-mb')
    })

    test.skipIf(!inUse)('it is taken, and the line says so', () => {
      const { line, mb, mapped, works } = choice({ TSVPN_AEAD: 'ipsec-mb' })
      expect(mb).toEqual({ name: 'ipsec-mb', version: expect.any(String), whyNot: null, failed: false })
      expect(mb.version).toMatch(/^intel-ipsec-mb 1\.\d+ \((SSE|AVX|AVX2|AVX512)\)$/)
      expect(line.startsWith(`AEAD by ${mb.version}, OpenSSL 3`)).toBe(true)
      expect({ mapped, works }).toEqual({ mapped: true, works: true })
    })

    test.skipIf(!inUse)('that is no library', () => {
      const env = place('empty', (file) => writeFileSync(file, ''))
      const { line, mb, evp, works } = choice(env)
      expect(mb).toMatchObject({ failed: false, whyNot: expect.stringMatching(/libIPSec_MB\.so\.1: file too short/) })
      expect({ line, works }).toEqual({ line: evp.version, works: true })
      expect(() => choice({ ...env, TSVPN_AEAD: 'ipsec-mb' })).toThrow(/TSVPN_AEAD=ipsec-mb: .*file too short/)
    })

    test.skipIf(!inUse)('of another version', () => {
      const names = ['alloc_mb_mgr', 'init_mb_mgr_auto', 'free_mb_mgr'].map(
        (name) => `void* ${name}() { __builtin_trap(); }`,
      )
      const source = `extern "C" { unsigned imb_get_version() { return 0x1fe00; } ${names.join(' ')} }`
      const { mb, evp, line, works } = choice(place('other', (file) => compile(source, file)))
      expect(mb).toMatchObject({ version: 'intel-ipsec-mb 1.254', failed: false })
      expect(mb.whyNot).toMatch(/^the addon was built for version 1\.\d+$/)
      expect({ line, works }).toEqual({ line: evp.version, works: true })
    })

    test.skipIf(!inUse)('without the functions', () => {
      const { mb, works } = choice(place('hollow', (file) => compile('int nothing;', file)))
      expect(mb).toMatchObject({ whyNot: expect.stringMatching(/undefined symbol: imb_get_version/), failed: false })
      expect(works).toBe(true)
    })

    /** A library that hands on to the real one; `initialize` is C++ with the manager `m`, its `arch` and `call(name)`. */
    function wrapper(globals: string, initialize: string): string {
      const real = execFileSync('sh', ['-c', 'ldconfig -p | sed -n "s/.*libIPSec_MB.so.1 .*=> //p"'], {
        encoding: 'utf8',
        env: { ...process.env, PATH: `${process.env.PATH}:/sbin:/usr/sbin` },
      }).trim()
      return `
        #include <dlfcn.h>
        #include <intel-ipsec-mb.h>
        static void* call(const char* name) { return dlsym(dlopen(${JSON.stringify(real)}, RTLD_NOW | RTLD_LOCAL), name); }
        ${globals}
        extern "C" {
        unsigned imb_get_version() { return ((unsigned (*)())call("imb_get_version"))(); }
        IMB_MGR* alloc_mb_mgr(uint64_t flags) { return ((IMB_MGR * (*)(uint64_t)) call("alloc_mb_mgr"))(flags); }
        void free_mb_mgr(IMB_MGR* m) { ((void (*)(IMB_MGR*))call("free_mb_mgr"))(m); }
        void init_mb_mgr_auto(IMB_MGR* m, IMB_ARCH* arch) { ${initialize} }
        }`
    }

    const instructions = ['SSE', 'AVX', 'AVX2', 'AVX512'] as const
    test.skipIf(!inUse)('right with each set of instructions that this CPU has', () => {
      const best = instructions.findIndex((name) => choice().mb.version.endsWith(`(${name})`))
      expect(best).toBeGreaterThanOrEqual(0)
      for (const name of instructions.slice(0, best + 1)) {
        const source = wrapper('', `((void (*)(IMB_MGR*))call("init_mb_mgr_${name.toLowerCase()}"))(m);`)
        const { mb, works } = choice(place(name, (file) => compile(source, file)))
        expect(mb).toMatchObject({ version: expect.stringMatching(`\\(${name}\\)$`), whyNot: null, failed: false })
        expect(works).toBe(true)
      }
    })

    test.skipIf(!inUse)('that computes wrong in one function', () => {
      const source = wrapper(
        `static aes_gcm_enc_dec_t right;
        static void wrong(const gcm_key_data* key, gcm_context_data* context, uint8_t* out, const uint8_t* in, uint64_t length,
                          const uint8_t* iv, const uint8_t* aad, uint64_t aadLength, uint8_t* tag, uint64_t tagLength) {
          right(key, context, out, in, length, iv, aad, aadLength, tag, tagLength);
          if (length == 1024) out[1023] ^= 1;
        }`,
        `((void (*)(IMB_MGR*, IMB_ARCH*))call("init_mb_mgr_auto"))(m, arch);
        right = m->gcm256_dec;
        m->gcm256_dec = wrong;`,
      )
      const env = place('liar', (file) => compile(source, file))
      const { mb, evp, line, works } = choice(env)
      expect(mb).toMatchObject({
        failed: true,
        whyNot: 'self-test of encr 18, 256 bits, integ 0: opens to something else, 1024 octets',
      })
      expect({ line, works }).toEqual({ line: evp.version, works: true })
      expect(() =>
        inProcess(
          `addon.espSeal({ ...${KEYS}, backend: 'ipsec-mb' }, 7, 1n, new Uint8Array(8), new Uint8Array(60))`,
          env,
        ),
      ).toThrow(/keys: intel-ipsec-mb .*self-test of encr 18/)
    })
  })
})

describe.skipIf(!built).each(['ipsec-mb', 'evp'] as const)('10,000 Child SAs by %s', (backend) => {
  test('take at most 8 KiB each and two seconds of CPU together, and are gone when they are removed', ({ skip }) => {
    if (backend === 'ipsec-mb' && choice().mb.whyNot !== null) skip()
    const { each, left, seconds } = inProcess<{ each: number; left: number; seconds: number }>(
      `const any = { family: 4, startAddress: new Uint8Array(4), endAddress: new Uint8Array(4).fill(255), ipProtocol: 0, startPort: 0, endPort: 65535 }
      const path = { family: 4, localAddress: '', remoteAddress: '192.0.2.1', remotePort: 4500 }
      const keys = { ...${KEYS}, encrKeyBits: 256, encrKey: new Uint8Array(36), backend: '${backend}' }
      const native = () => { gc(); const { rss, heapTotal } = process.memoryUsage(); return rss - heapTotal }
      const add = (i) => {
        addon.addInbound({ ...keys, spi: 1000 + i, replayWindow: 4096, local: [any], remote: [any], path })
        addon.addOutbound({ ...keys, handle: i, spi: 1000 + i, path })
      }
      const remove = (i) => addon.removeInbound(1000 + i) && addon.removeOutbound(i)
      for (let i = 0; i < 100; i++) add(i)
      for (let i = 0; i < 100; i++) remove(i)
      const before = native(), began = process.cpuUsage()
      for (let i = 0; i < 10000; i++) add(i)
      const used = process.cpuUsage(began), seconds = (used.user + used.system) / 1e6
      const each = (native() - before) / 10000
      let left = 10000
      for (let i = 0; i < 10000; i++) if (remove(i)) left--
      return { each, left, seconds }`,
    )
    expect(each).toBeLessThan(8 * 1024)
    expect(seconds).toBeLessThan(2)
    expect(left).toBe(0)
  })
})
