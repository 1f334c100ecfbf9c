// node knock.mjs serve SOCKET…                      answers on each, such as tcp:10.2.0.1:5201; prints `ready`
// node knock.mjs knock tcp|udp FROM ADDRESS PORT    exit code 0 when an answer comes within 1.5 s, else 1
import { createSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'

const [mode, ...rest] = process.argv.slice(2)
const WAIT_MS = 1500

if (mode === 'serve') {
  const ready = rest.map((text) => {
    const [protocol, address, port] = text.split(':')
    return new Promise((resolve) => {
      if (protocol === 'tcp') createServer((socket) => socket.end('here')).listen(Number(port), address, resolve)
      else {
        const socket = createSocket('udp4')
        socket.on('message', (_, from) => socket.send('here', from.port, from.address))
        socket.bind(Number(port), address, resolve)
      }
    })
  })
  await Promise.all(ready)
  console.log('ready')
} else {
  const [protocol, from, address, port] = rest
  setTimeout(() => process.exit(1), WAIT_MS)
  if (protocol === 'tcp') {
    const socket = connect({ host: address, port: Number(port), localAddress: from })
    socket.on('data', () => process.exit(0))
    socket.on('error', () => process.exit(1))
  } else {
    const socket = createSocket('udp4')
    socket.on('message', () => process.exit(0))
    socket.bind(0, from, () => {
      const send = () => socket.send('knock', Number(port), address)
      send()
      setInterval(send, 300)
    })
  }
}
