// Traffic with content checks for shard.test.ts, run inside a namespace: traffic.mjs <mode> <address> <port> [amount]
//   echo    UDP and TCP: sends back every datagram; answers a TCP stream with its SHA-256
//   udp     sends `amount` datagrams of many sizes, each with its own octets, and expects each one back
//   tcp     sends `amount` octets and compares the SHA-256 that comes back
import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'

const [mode, address, portText, amountText] = process.argv.slice(2)
const port = Number(portText)
const amount = Number(amountText)
const family = address.includes(':') ? 'udp6' : 'udp4'

/** Octets that a shift by any number of positions changes. */
const contentOf = (length, seed) => {
  const octets = Buffer.alloc(length)
  for (let i = 0; i < length; i++) octets[i] = (i * 31 + (i >> 8) * 17 + seed) & 255
  return octets
}

if (mode === 'echo') {
  const udp = createSocket({ type: family, recvBufferSize: 4 << 20 })
  udp.on('message', (data, from) => udp.send(data, from.port, from.address))
  udp.bind(port, address)
  createServer({ allowHalfOpen: true }, (stream) => {
    const hash = createHash('sha256')
    stream.on('data', (chunk) => hash.update(chunk))
    stream.on('end', () => stream.end(hash.digest('hex')))
  }).listen(port, address, () => console.log('ready'))
} else if (mode === 'udp') {
  const udp = createSocket({ type: family, recvBufferSize: 4 << 20 })
  const lengthOf = (i) => (i % 50 === 49 ? 1472 + i * 60 : 8 + ((i * 7) % 1450))
  let good = 0
  let bad = 0
  const missing = new Set(Array.from({ length: amount }, (_, i) => i))
  const finish = () => {
    console.log(JSON.stringify({ good, bad, missing: [...missing] }))
    process.exit(0)
  }
  let idle = setTimeout(finish, 3000)
  udp.on('message', (data) => {
    const i = data.readUInt32BE(0)
    missing.delete(i)
    const expected = contentOf(lengthOf(i), i)
    expected.writeUInt32BE(i, 0)
    if (expected.equals(data)) good++
    else bad++
    clearTimeout(idle)
    idle = setTimeout(finish, good + bad === amount ? 0 : 3000)
  })
  udp.bind(() => {
    let next = 0
    // A few at a time: the receiver is an ordinary process with an ordinary buffer.
    const burst = setInterval(() => {
      for (let n = 0; n < 20 && next < amount; n++, next++) {
        const octets = contentOf(lengthOf(next), next)
        octets.writeUInt32BE(next, 0)
        udp.send(octets, port, address)
      }
      if (next >= amount) clearInterval(burst)
    }, 2)
  })
} else if (mode === 'tcp') {
  const hash = createHash('sha256')
  const stream = connect({ host: address, port, allowHalfOpen: true })
  const chunk = contentOf(251 * 1024 + 13, 1)
  let left = amount
  let answer = ''
  stream.on('data', (data) => {
    answer += data
  })
  stream.on('end', () => {
    console.log(JSON.stringify({ same: answer === hash.digest('hex') }))
    process.exit(0)
  })
  const pump = () => {
    while (left > 0) {
      const part = chunk.subarray(0, Math.min(left, chunk.length))
      left -= part.length
      hash.update(part)
      if (!stream.write(part)) {
        stream.once('drain', pump)
        return
      }
    }
    stream.end()
  }
  stream.on('connect', pump)
}
