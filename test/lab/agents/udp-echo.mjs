// UDP datagrams of many sizes there and back, each octet checked.
// usage: udp-echo.mjs serve ADDRESS PORT | udp-echo.mjs check ADDRESS PORT SIZE,SIZE-SIZE:STEP,… [TRIES]
// The client keeps a few datagrams in flight, sends a lost one again up to TRIES times, and prints one line of JSON.
import { createSocket } from 'node:dgram'

const [, , mode, address, port, sizes = '', tries = '1'] = process.argv
const family = address.includes(':') ? 'udp6' : 'udp4'
const IN_FLIGHT = 4
const ANSWER_MS = 500

const socket = createSocket({ type: family, recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 })

// Content that depends on the size and the place, so that truncation, padding and reordering of fragments all show.
const pattern = Buffer.alloc(1 << 17, 0).map((_, i) => (i * 31 + (i >> 8) * 7) & 0xff)
const content = (size) => pattern.subarray(size % 251, (size % 251) + size)

function expand(text) {
  return text.split(',').flatMap((part) => {
    const [, from, to, step] = /^(\d+)(?:-(\d+))?(?::(\d+))?$/.exec(part)
    const list = []
    for (let size = Number(from); size <= Number(to ?? from); size += Number(step ?? 1)) list.push(size)
    return list
  })
}

if (mode === 'serve') {
  socket.on('message', (data, from) => socket.send(data, from.port, from.address))
  socket.bind(Number(port), address, () => console.log('ready'))
} else {
  const left = expand(sizes).map((size) => ({ size, tries: Number(tries) }))
  const total = left.length
  const waiting = new Map()
  const lost = []
  const wrong = []
  let retries = 0

  const done = () => {
    console.log(JSON.stringify({ total, lost, wrong, retries }))
    socket.close()
  }
  const next = () => {
    while (waiting.size < IN_FLIGHT && left.length > 0) {
      const job = left.shift()
      if (waiting.has(job.size)) continue
      job.tries--
      const timer = setTimeout(() => {
        waiting.delete(job.size)
        if (job.tries > 0) {
          retries++
          left.push(job)
        } else lost.push(job.size)
        next()
      }, ANSWER_MS)
      waiting.set(job.size, timer)
      socket.send(content(job.size), Number(port), address)
    }
    if (waiting.size === 0 && left.length === 0) done()
  }
  socket.on('message', (data) => {
    const timer = waiting.get(data.length)
    if (timer === undefined) return
    clearTimeout(timer)
    waiting.delete(data.length)
    if (!data.equals(content(data.length))) wrong.push(data.length)
    next()
  })
  socket.bind(0, () => next())
}
