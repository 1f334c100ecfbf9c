// UDP sockets of a lab host in the hands of the test process: what they receive goes to a unix socket as lines of JSON,
// and what comes from there is sent. usage: udp-port.mjs UNIX_SOCKET ADDRESS PORT,PORT,…
// Line: { "port": ours, "address": the other's, "from": the other's port, "data": hexadecimal }
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const [, , path, address, ports = ''] = process.argv
const control = connect(path)
control.on('close', () => process.exit())

const sockets = new Map()
for (const port of ports.split(',').map(Number)) {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 })
  socket.on('message', (data, other) => {
    control.write(`${JSON.stringify({ port, address: other.address, from: other.port, data: data.toString('hex') })}\n`)
  })
  // An ICMP error of a peer that is not there yet.
  socket.on('error', () => {})
  sockets.set(port, socket)
}
await Promise.all([...sockets].map(([port, socket]) => new Promise((done) => socket.bind(port, address, done))))

createInterface({ input: control }).on('line', (line) => {
  const { port, address: to, from, data } = JSON.parse(line)
  sockets.get(port)?.send(Buffer.from(data, 'hex'), from, to)
})
console.log('ready')
