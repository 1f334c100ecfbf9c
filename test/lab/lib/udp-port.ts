/** UDP ports of a lab host, held by the test: it sees every datagram that comes in and sends what it likes. */
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Datagram } from '../../../src/ike/api.ts'
import { fromHex, toHex } from '../../../src/wire/bytes.ts'
import type { Host } from './lab.ts'
import { AGENTS } from './paths.ts'
import { type Tracked, waitUntil } from './process.ts'

interface Line {
  readonly port: number
  readonly address: string
  readonly from: number
  readonly data: string
}

export class UdpPort {
  readonly address: string
  /** Everything that came in, in order. */
  readonly received: Datagram[] = []
  onReceived: (datagram: Datagram) => void = () => {}
  readonly #server: Server
  #control: Socket | undefined
  #agent: Tracked | undefined

  private constructor(address: string) {
    this.address = address
    this.#server = createServer((socket) => {
      this.#control = socket
      createInterface({ input: socket }).on('line', (line) => this.#read(JSON.parse(line) as Line))
    })
  }

  /** Binds these ports of an IPv4 address of the host. */
  static async open(host: Host, address: string, ports: readonly number[] = [500, 4500]): Promise<UdpPort> {
    const port = new UdpPort(address)
    const path = join(host.folder, `udp-${ports.join('-')}-${address}.sock`)
    await new Promise<void>((done) => port.#server.listen(path, done))
    const argv = [process.execPath, join(AGENTS, 'udp-port.mjs'), path, address, ports.join(',')]
    port.#agent = host.spawn(argv, { log: 'udp-port' })
    await port.#agent.waitFor(/ready/)
    return port
  }

  /** @param datagram seen from here: `local` names one of our ports */
  send({ local, remote, data }: Datagram): void {
    const line: Line = { port: local.port, address: remote.address, from: remote.port, data: toHex(data) }
    this.#control?.write(`${JSON.stringify(line)}\n`)
  }

  /** Waits for something that came in since `from`, an index into `received`. */
  async next(what: string, match: (datagram: Datagram) => boolean, from = 0, timeoutMs = 5_000): Promise<Datagram> {
    return waitUntil(what, () => this.received.slice(from).find(match), timeoutMs, 2)
  }

  async close(): Promise<void> {
    this.onReceived = () => {}
    this.#control?.destroy()
    this.#server.close()
    await this.#agent?.stop()
  }

  #read({ port, address, from, data }: Line): void {
    const local = { family: 4, address: this.address, port } as const
    const datagram = { local, remote: { family: 4, address, port: from } as const, data: fromHex(data) }
    this.received.push(datagram)
    this.onReceived(datagram)
  }
}
