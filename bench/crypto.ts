/**
 * Microseconds per operation of every control-plane algorithm, by provider, on the Node that runs it. The defaults in
 * src/crypto (ENCR_PROVIDER, MAC_PROVIDER, KE_PROVIDER) and every `slow` flag rest on these figures.
 *
 *     npm run bench:crypto [-- FILE.json]
 */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { generatePrivateKey } from '../src/crypto/keys.ts'
import { allEncr, allInteg, allKe, allPrf } from '../src/crypto/registry.ts'
import { signatureSchemes } from '../src/crypto/signature.ts'
import type { KeyKind } from '../src/crypto/types.ts'
import { describeMachine } from './machine.ts'
import { summarize } from './statistics.ts'

interface Row {
  readonly algorithm: string
  readonly operation: string
  readonly provider: string
  readonly microseconds: number
}

/** An SK payload of IKE_AUTH, a block that prf+ hashes, a message that INTEG covers. */
const SEAL_OCTETS = 256
const PRF_OCTETS = 100
const INTEG_OCTETS = 300

const SAMPLES = 7
const SAMPLE_MICROSECONDS = 15_000

const octets = (length: number) => new Uint8Array(randomBytes(length))
const rng = { bytes: octets }

const elapsed = (work: () => unknown, calls: number) => {
  const start = process.hrtime.bigint()
  for (let i = 0; i < calls; i++) work()
  return Number(process.hrtime.bigint() - start) / 1000
}

/** How many calls fill SAMPLE_MICROSECONDS; finding out warms the compiler. */
function callsPerSample(work: () => unknown): number {
  let calls = 1
  for (let time = elapsed(work, calls); time < SAMPLE_MICROSECONDS; time = elapsed(work, calls)) {
    calls = Math.ceil(calls * Math.min(10, (1.2 * SAMPLE_MICROSECONDS) / Math.max(time, 1)))
  }
  return calls
}

interface Measurement {
  readonly algorithm: string
  readonly operation: string
  readonly provider: string
  readonly work: () => unknown
}

const measurements: Measurement[] = []
function measure(algorithm: string, operation: string, provider: string, work: () => unknown): void {
  measurements.push({ algorithm, operation, provider, work })
}

/** The providers of one operation take turns, sample by sample: the machine's speed drifts, their ratio does not. */
function runTogether(group: readonly Measurement[]): Row[] {
  const runs = group.map((m) => ({ m, calls: callsPerSample(m.work), samples: [] as number[] }))
  for (let i = 0; i < SAMPLES; i++) {
    for (const { m, calls, samples } of runs) samples.push(elapsed(m.work, calls) / calls)
  }
  return runs.map(({ m: { algorithm, operation, provider }, samples }) => ({
    algorithm,
    operation,
    provider,
    microseconds: Number(summarize(samples).median.toPrecision(3)),
  }))
}

for (const a of allEncr()) {
  const [key, iv, aad] = [octets(a.keyLength + a.saltLength), octets(a.ivLength), octets(a.aead ? 32 : 0)]
  const plaintext = octets(SEAL_OCTETS)
  const sealed = a.seal(key, iv, aad, plaintext)
  measure(a.name, `seal ${SEAL_OCTETS}`, a.provider, () => a.seal(key, iv, aad, plaintext))
  measure(a.name, `open ${SEAL_OCTETS}`, a.provider, () => a.open(key, iv, aad, sealed))
}
for (const a of allPrf()) {
  const [key, data] = [octets(a.keyLength), octets(PRF_OCTETS)]
  measure(a.name, `mac ${PRF_OCTETS}`, a.provider, () => a.compute(key, data))
}
for (const a of allInteg()) {
  const [key, data] = [octets(a.keyLength), octets(INTEG_OCTETS)]
  measure(a.name, `mac ${INTEG_OCTETS}`, a.provider, () => a.compute(key, data))
}
for (const a of allKe()) {
  const own = a.generatePrivate(rng)
  const request = a.publicFrom(own)
  const drawn = a.drawResponse(rng)
  const response = a.respond(drawn, request)?.data ?? request
  measure(a.name, 'public', a.provider, () => a.publicFrom(own))
  measure(a.name, 'respond', a.provider, () => a.respond(drawn, request))
  measure(a.name, 'finish', a.provider, () => a.finish(own, response))
}
const bitsOf = (kind: KeyKind) => (kind === 'rsa' ? [2048, 3072, 4096] : [0])
for (const scheme of signatureSchemes) {
  for (const kind of scheme.kind) {
    for (const bits of bitsOf(kind)) {
      const key = generatePrivateKey(kind, bits || undefined)
      const data = octets(600)
      const signature = scheme.sign(key, data)
      const name = `${scheme.name}, ${kind}${bits || ''}`
      measure(name, 'sign', 'node', () => scheme.sign(key, data))
      measure(name, 'verify', 'node', () => scheme.verify(key.publicKey, data, signature))
    }
  }
}

const rows = measurements.flatMap((first, i) => {
  const group = measurements.filter((m) => m.algorithm === first.algorithm && m.operation === first.operation)
  return measurements.indexOf(group[0] ?? first) === i ? runTogether(group) : []
})

const { cpu, cores, kernel, node, openssl } = describeMachine()
console.log(`µs per operation, median of ${SAMPLES}; Node ${node}, OpenSSL ${openssl}, ${cpu}`)
const by = (algorithm: string, operation: string, provider: string) =>
  rows.find((r) => r.algorithm === algorithm && r.operation === operation && r.provider === provider)?.microseconds
for (const { algorithm, operation } of rows.filter(
  (r) => r.provider === 'node' || !by(r.algorithm, r.operation, 'node'),
)) {
  const figure = (provider: string) => String(by(algorithm, operation, provider) ?? '-').padStart(9)
  console.log(`${algorithm.padEnd(34)} ${operation.padEnd(9)} node${figure('node')}   noble${figure('noble')}`)
}
const file = process.argv[2]
if (file !== undefined) {
  writeFileSync(file, `${JSON.stringify({ machine: { cpu, cores, kernel, node, openssl }, rows }, null, 2)}\n`)
}
