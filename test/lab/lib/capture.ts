/** Captures on a lab host's interface, and tshark over them with a profile of its own: our keys, nothing of the user's. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from './lab.ts'
import { mustRun, type Tracked } from './process.ts'

export const CAPTURE_TOOLS = ['tcpdump', 'tshark']

export class Capture {
  readonly file: string
  readonly #tcpdump: Tracked

  /** Packets of `interfaceName` that match the filter (pcap-filter syntax), whole. */
  constructor(host: Host, interfaceName: string, filter: string) {
    this.file = join(host.folder, `${interfaceName}.pcap`)
    // -Z root: the folder is not writable for the user that tcpdump would become.
    const argv = [
      'tcpdump',
      '-i',
      interfaceName,
      '-s',
      '0',
      '-U',
      '-n',
      '-Z',
      'root',
      '-w',
      this.file,
      ...filter.split(' '),
    ]
    this.#tcpdump = host.spawn(argv)
  }

  async ready(): Promise<this> {
    await this.#tcpdump.waitFor(/listening on/)
    return this
  }

  async stop(): Promise<void> {
    // The kernel hands packets over at intervals of up to a second; what it still holds belongs to the capture.
    await new Promise((done) => setTimeout(done, 1500))
    await this.#tcpdump.stop('SIGINT')
  }
}

/** A Wireshark profile with the keys of a key-log file: IKE lines begin with an SPI, ESP lines with a quoted family. */
export class Tshark {
  readonly #home: string
  readonly #pcap: string

  constructor(folder: string, pcap: string, keyLogFile: string) {
    this.#home = join(folder, 'tshark-home')
    this.#pcap = pcap
    const profile = join(this.#home, '.config', 'wireshark')
    mkdirSync(profile, { recursive: true })
    const lines = readFileSync(keyLogFile, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    const isEsp = (line: string) => /^"IPv[46]"/.test(line)
    writeFileSync(join(profile, 'ikev2_decryption_table'), `${lines.filter((line) => !isEsp(line)).join('\n')}\n`)
    writeFileSync(join(profile, 'esp_sa'), `${lines.filter(isEsp).join('\n')}\n`)
  }

  /** @returns one row for each packet that matches, with these fields */
  async rows(filter: string, ...fields: string[]): Promise<string[][]> {
    const options = ['esp.enable_encryption_decode:TRUE', 'esp.enable_authentication_check:TRUE', 'ip.defragment:TRUE']
    const argv = [
      'tshark',
      '-n',
      '-r',
      this.#pcap,
      ...options.flatMap((option) => ['-o', option]),
      '-Y',
      filter,
      '-T',
      'fields',
    ]
    const output = await mustRun([...argv, ...fields.flatMap((field) => ['-e', field])], {
      env: { HOME: this.#home, XDG_CONFIG_HOME: join(this.#home, '.config') },
    })
    return output
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'))
  }
}
