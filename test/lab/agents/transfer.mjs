// Sends and receives a stream of pseudo-random octets over TCP and reports both SHA-256 sums as one line of JSON.
// usage: transfer.mjs serve ADDRESS PORT OCTETS | transfer.mjs connect ADDRESS PORT OCTETS
// The client sends first; when it has half-closed, the server sends its own OCTETS back. The stream is AES-128-CTR of
// zeros under a random key: as random as it gets, at memory speed.
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { connect, createServer } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

const [, , mode, address, port, octets] = process.argv
const CHUNK = Buffer.alloc(1 << 18)

function* generate(total, hash) {
  const cipher = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16))
  for (let left = total; left > 0; left -= CHUNK.length) {
    const chunk = cipher.update(left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK)
    hash.update(chunk)
    yield chunk
  }
}

async function send(socket) {
  const hash = createHash('sha256')
  await pipeline(Readable.from(generate(Number(octets), hash), { objectMode: false, highWaterMark: CHUNK.length * 4 }), socket, { end: false })
  socket.end()
  return { octets: Number(octets), sha256: hash.digest('hex') }
}

async function receive(socket) {
  const hash = createHash('sha256')
  let count = 0
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    hash.update(chunk)
    count += chunk.length
  }
  return { octets: count, sha256: hash.digest('hex') }
}

async function talk(socket) {
  const started = process.hrtime.bigint()
  let sent
  let received
  if (mode === 'connect') {
    sent = await send(socket)
    received = await receive(socket)
  } else {
    received = await receive(socket)
    sent = await send(socket)
  }
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  console.log(JSON.stringify({ sent, received, seconds }))
}

if (mode === 'connect') {
  const socket = connect({ host: address, port: Number(port), allowHalfOpen: true })
  socket.once('connect', () => talk(socket))
} else {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, async (socket) => {
    server.close()
    await talk(socket)
  })
  server.listen(Number(port), address, () => console.log('ready'))
}
