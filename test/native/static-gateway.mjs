// One end of a tunnel with static keys, without IKE: opens TUN and a UDP socket, starts a shard, installs both SAs.
// Runs inside a network namespace as a child process of shard.test.ts and of the bench. Prints a line of JSON per
// request on stdin: "counters", "drops", "cpu", "connect", "crash", "stop".
import { execFileSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const config = JSON.parse(process.argv[2])
const dist = new URL('../../dist/', import.meta.url)
const { loadNative } = await import(new URL('io/native.js', dist).href)
const { bootShard } = await import(new URL('datapath/pool.js', dist).href)
const { Shards } = await import(new URL('datapath/shards.js', dist).href)

const native = loadNative()
const ip = (...args) => execFileSync('ip', args)
const say = (value) => console.log(JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? Number(v) : v)))

const any = (family) => ({
  family,
  startAddress: new Uint8Array(family === 4 ? 4 : 16),
  endAddress: new Uint8Array(family === 4 ? 4 : 16).fill(255),
  ipProtocol: 0,
  startPort: 0,
  endPort: 65535,
})
const selectors = [any(4), any(6)]
const { encr, encrKeyBits, integ, esn } = config.suite
const saltBytes = encr === 12 ? 0 : 4
const keyBytes = (encrKeyBits || 256) / 8 + saltBytes
const integBytes = { 0: 0, 2: 20, 12: 32, 13: 48, 14: 64 }[integ]
/** A fixed key per SPI: both ends of a test agree without talking. */
const keys = (spi) => ({
  encr,
  encrKeyBits,
  integ,
  esn,
  ...(config.backend ? { backend: config.backend } : {}),
  encrKey: new Uint8Array(keyBytes).map((_, i) => (spi * 31 + i * 7) & 255),
  integKey: new Uint8Array(integBytes).map((_, i) => (spi * 17 + i * 3) & 255),
})

const count = config.shards ?? 1
const tun = native.openTun(config.tun, { offload: config.offload ?? true, queues: count })
for (const address of config.addresses) ip('address', 'add', address, 'dev', tun.name, ...(address.includes(':') ? ['nodad'] : []))
ip('link', 'set', tun.name, 'mtu', String(config.mtu), 'up')
const openUdp = (esp) =>
  native.openUdp({
    family: config.family,
    address: config.family === 4 ? '0.0.0.0' : '::',
    port: 4500,
    mark: 0,
    reusePort: count > 1,
    esp,
  })
// Index 0 of the group is where IKE would be.
const main = count > 1 ? [openUdp(false)] : []
const fds = Array.from({ length: count }, () => openUdp(true))
if (count > 1) native.attachSteering(fds[0], count)
const path = { family: config.family, localAddress: config.local, remoteAddress: config.remote, remotePort: 4500 }
// What the peer's last known port was: another one than it sends from raises endpoint-moved.
const known = { ...path, remotePort: config.knownPort ?? 4500 }
const inner = { replayWindow: 4096, local: selectors, remote: selectors }
native.addInbound({ ...keys(config.inboundSpi), ...inner, spi: config.inboundSpi, path: known })
native.addOutbound({ ...keys(config.outboundSpi), handle: 1, spi: config.outboundSpi, path, sequence: BigInt(config.sequence ?? 0) })

/** Further Child SAs, each with a policy of one address of its own: what a busy gateway has besides ours. */
function installMany(count) {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  // What JavaScript needed on the way is not what an SA takes.
  const resident = () => {
    collect()
    return process.memoryUsage().rss
  }
  const before = resident()
  const began = performance.now()
  for (let i = 0; i < count; i++) {
    const octets = new Uint8Array([100, 64 | (i >> 16), (i >> 8) & 255, i & 255])
    const remote = [{ ...any(4), startAddress: octets, endAddress: octets }]
    const spi = 0x10000 + i
    native.addInbound({ ...keys(spi), replayWindow: 4096, local: selectors, remote, spi, path })
    native.addOutbound({ ...keys(spi), handle: 10 + i, spi, path })
    native.setPolicy({ id: 10 + i, local: selectors, remote, outbound: 10 + i })
  }
  const ms = performance.now() - began
  return { ms, octetsPerSa: (resident() - before) / count }
}

const setPolicy = (outbound) => native.setPolicy({ id: 1, local: selectors, remote: selectors, outbound, hold: config.hold ?? false })
setPolicy(config.trap ? null : 1)

const workers = new Set()
process.on('worker', (worker) => {
  workers.add(worker)
  worker.once('exit', () => workers.delete(worker))
})
const shards = await Shards.start({
  descriptors: tun.fds.map((tunFd, i) => ({ tunFd, udp: [{ family: config.family, fd: fds[i] }] })),
  boot: bootShard,
  onEvent: (event) => say({ event }),
  onRestart: (error, ms) => say({ event: { type: 'restart', ms, message: error.message } }),
  onFailed: (error) => say({ failed: error.message }),
  now: () => performance.now(),
})
const many = config.many ? installMany(config.many) : undefined
say({ ready: true, features: tun.features, ...(many ? { many } : {}) })

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'counters') say({ inbound: native.inboundCounters(config.inboundSpi), outbound: native.outboundCounters(1) })
  if (line === 'drops') say(Object.fromEntries(native.dropReasons.map((name, i) => [name, native.dropCounters()[i]])))
  // Milliseconds of the whole process.
  if (line === 'cpu') say({ cpu: (process.cpuUsage().user + process.cpuUsage().system) / 1000 })
  // What IKE does once a trap has called for it.
  if (line === 'connect') {
    setPolicy(1)
    say({ connected: true })
  }
  // Every thread ends as one with a fault does.
  if (line === 'crash') {
    for (const worker of workers) worker.postMessage({ type: 'no such message' })
    say({ crashed: workers.size })
  }
  if (line === 'stop') break
}
await shards.stop()
for (const fd of [...main, ...fds]) native.closeFd(fd)
for (const queue of tun.fds) native.closeFd(queue)
say({ stopped: true })
process.exit(0)
