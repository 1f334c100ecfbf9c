// A TCP stream that does not end, and what of it arrives when. One line per 20 ms in which octets came: `TIME OCTETS`.
// usage: stream.mjs serve ADDRESS PORT | stream.mjs connect ADDRESS PORT BYTES_PER_SECOND
import { connect, createServer } from 'node:net'

const [, , mode, address, port, rate] = process.argv
const TICK_MS = 20

if (mode === 'serve') {
  let octets = 0
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      octets += chunk.length
    })
    socket.on('error', () => process.exit(0))
  })
  server.listen(Number(port), address, () => console.log('ready'))
  setInterval(() => {
    if (octets > 0) console.log(`${Date.now()} ${octets}`)
    octets = 0
  }, TICK_MS)
} else {
  const chunk = Buffer.alloc(Math.floor((Number(rate) * TICK_MS) / 1000), 7)
  const socket = connect({ host: address, port: Number(port) })
  let isFull = false
  socket.on('drain', () => {
    isFull = false
  })
  socket.once('connect', () => {
    setInterval(() => {
      if (!isFull) isFull = !socket.write(chunk)
    }, TICK_MS)
  })
}
