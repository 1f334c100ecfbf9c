/**
 * Network namespaces as hosts: a `Lab` makes them, joins them by veth pairs and bridges, and removes all of it on every
 * way out (close, exit, signal); what a killed run left behind goes at the next start. A `Host` has its own network and
 * mount namespace with a private /run, so that two daemons of one kind never meet. Needs root.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type ExecOptions, type ExecResult, isAlive, mustRun, mustRunSync, run, runSync, Tracked } from './process.ts'

/** Namespace and folder names: `tsvpn-lab-<pid>-<random>[-host]`. The pid tells a later run whether the owner lives. */
const PREFIX = 'tsvpn-lab-'
const NETNS_FOLDER = '/run/netns'

const open = new Set<Lab>()
let hooked = false

function hookExits(): void {
  if (hooked) return
  hooked = true
  const closeAll = () => {
    for (const lab of open) lab.close()
  }
  process.on('exit', closeAll)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      closeAll()
      process.kill(process.pid, signal)
    })
  }
}

function killInNamespace(name: string): void {
  // Two rounds: a shell may fork between listing and killing.
  for (let round = 0; round < 2; round++) {
    for (const pid of runSync(['ip', 'netns', 'pids', name]).stdout.split('\n').filter(Boolean)) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It ended by itself.
      }
    }
  }
}

/** Removes the namespaces and folders of labs whose process is gone. */
export function removeLeftovers(): void {
  const isOrphan = (name: string) => {
    const pid = /^tsvpn-lab-(\d+)-/.exec(name)?.[1]
    return pid !== undefined && !isAlive(Number(pid))
  }
  if (existsSync(NETNS_FOLDER)) {
    for (const name of readdirSync(NETNS_FOLDER).filter(isOrphan)) {
      killInNamespace(name)
      runSync(['ip', 'netns', 'delete', name])
    }
  }
  for (const name of readdirSync(tmpdir()).filter(isOrphan))
    rmSync(join(tmpdir(), name), { recursive: true, force: true })
}

export class Lab {
  /** Private folder of this lab; each host has one in it. */
  readonly folder: string
  readonly hosts: Host[] = []
  readonly #name: string
  #closed = false

  constructor() {
    removeLeftovers()
    hookExits()
    this.folder = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
    this.#name = basename(this.folder)
    open.add(this)
  }

  /** A host with loopback up and IPv6 duplicate detection off. @param name short, unique in this lab */
  host(name: string): Host {
    const host = new Host(`${this.#name}-${name}`, name, join(this.folder, name))
    this.hosts.push(host)
    host.start()
    return host
  }

  /** Joins two hosts by a veth pair; both ends are up. MTU 1500 unless told. */
  link(a: Host, aInterface: string, b: Host, bInterface: string, mtu = 1500): void {
    mustRunSync([
      'ip',
      'link',
      'add',
      aInterface,
      'netns',
      a.netns,
      'mtu',
      String(mtu),
      'type',
      'veth',
      'peer',
      'name',
      bInterface,
      'netns',
      b.netns,
      'mtu',
      String(mtu),
    ])
    a.ip('link', 'set', aInterface, 'up')
    b.ip('link', 'set', bInterface, 'up')
  }

  /** One Ethernet segment: a bridge in a host of its own, with one port for each of `members`. */
  segment(name: string, members: readonly (readonly [Host, string])[], mtu = 1500): Host {
    const bridge = this.host(name)
    bridge.ip('link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0')
    bridge.ip('link', 'set', 'br0', 'up')
    for (const [index, [host, name]] of members.entries()) {
      this.link(host, name, bridge, `port${index}`, mtu)
      bridge.ip('link', 'set', `port${index}`, 'master', 'br0')
    }
    return bridge
  }

  /** Copies the log files of all hosts to a folder that stays. @returns that folder, and the end of each log */
  keepLogs(): { folder: string; text: string } {
    const folder = mkdtempSync(join(tmpdir(), 'tsvpn-failed-'))
    let text = ''
    for (const host of this.hosts) {
      for (const file of existsSync(host.folder)
        ? readdirSync(host.folder).filter((name) => name.endsWith('.log'))
        : []) {
        copyFileSync(join(host.folder, file), join(folder, `${host.name}-${file}`))
        const tail = readFileSync(join(host.folder, file), 'utf8').trimEnd().split('\n').slice(-40).join('\n')
        text += `--- ${host.name} ${file}\n${tail}\n`
      }
    }
    return { folder, text }
  }

  /** Removes everything. May be called twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const host of this.hosts) host.destroy()
    rmSync(this.folder, { recursive: true, force: true })
    open.delete(this)
  }
}

export class Host {
  readonly netns: string
  readonly name: string
  /** Private folder, for configuration, keys and logs. Mode 0755; files in it as they are written. */
  readonly folder: string
  #holder: Tracked | undefined
  readonly #processes = new Set<Tracked>()

  constructor(netns: string, name: string, folder: string) {
    this.netns = netns
    this.name = name
    this.folder = folder
  }

  /** Makes the namespaces; a process that sleeps holds them. */
  start(): void {
    mkdirSync(join(this.folder, 'run'), { recursive: true })
    mustRunSync(['chmod', '755', this.folder, join(this.folder, '..')])
    mustRunSync(['ip', 'netns', 'add', this.netns])
    const ready = join(this.folder, 'run', '.ready')
    const script = `mount --bind "${this.folder}/run" /run && : >/run/.ready && exec sleep infinity`
    this.#holder = new Tracked([
      'ip',
      'netns',
      'exec',
      this.netns,
      'unshare',
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      script,
    ])
    const end = performance.now() + 5000
    while (!existsSync(ready)) {
      if (performance.now() > end) throw new Error(`host ${this.name} did not start: ${this.#holder.output}`)
      runSync(['sleep', '0.005'])
    }
    rmSync(ready)
    this.sysctl(
      'net.ipv6.conf.all.accept_dad=0',
      'net.ipv6.conf.default.accept_dad=0',
      'net.ipv6.conf.default.router_solicitations=0',
    )
    this.ip('link', 'set', 'lo', 'up')
  }

  /** Command line that runs `argv` on this host. */
  enter(argv: readonly string[]): string[] {
    if (!this.#holder) throw new Error(`host ${this.name} was not started`)
    return ['nsenter', '-t', String(this.#holder.pid), '-m', '-n', '--', ...argv]
  }

  /** Runs to the end; failure is a result. */
  exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return run(this.enter(argv), options)
  }

  /** Runs to the end; failure throws. @returns stdout */
  must(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    return mustRun(this.enter(argv), options)
  }

  /** Starts a process that stays; it ends with the lab at the latest. Its output also goes to `<log>.log` in the folder. */
  spawn(argv: readonly string[], options: ExecOptions & { readonly log?: string } = {}): Tracked {
    const { log, ...rest } = options
    const tracked = new Tracked(
      this.enter(argv),
      log === undefined ? rest : { ...rest, logFile: join(this.folder, `${log}.log`) },
    )
    this.#processes.add(tracked)
    tracked.exited.then(() => this.#processes.delete(tracked))
    return tracked
  }

  /** `ip ARGUMENTS` in the namespace, at once. @returns stdout */
  ip(...argv: string[]): string {
    return mustRunSync(['ip', '-n', this.netns, ...argv])
  }

  sysctl(...settings: string[]): void {
    mustRunSync(this.enter(['sysctl', '-qw', ...settings]))
  }

  /** Adds addresses in CIDR form. */
  address(name: string, ...addresses: string[]): void {
    for (const address of addresses) {
      this.ip('address', 'add', address, 'dev', name, ...(address.includes(':') ? ['nodad'] : []))
    }
  }

  /** @param to CIDR or `default` */
  route(to: string, via: string): void {
    this.ip(...(via.includes(':') ? ['-6'] : []), 'route', 'add', to, 'via', via)
  }

  forwarding(): void {
    this.sysctl('net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
  }

  nft(rules: string): void {
    mustRunSync(this.enter(['nft', '-f', '-']), rules)
  }

  /** Source NAT for IPv4 that leaves by `outInterface`, with ports that change. */
  masquerade(outInterface: string): void {
    this.nft(`table ip lab_nat {
      chain post {
        type nat hook postrouting priority srcnat
        oifname "${outInterface}" meta l4proto udp masquerade to :20000-60000 random
        oifname "${outInterface}" masquerade
      }
    }\n`)
  }

  /** Drops that share of what comes in by `inInterface`, at random. @param percent whole number, 0 removes the rule */
  loss(inInterface: string, percent: number): void {
    this.nft('table inet lab_loss {}\ndelete table inet lab_loss\n')
    if (percent === 0) return
    this.nft(`table inet lab_loss {
      chain in {
        type filter hook prerouting priority -300
        iifname "${inInterface}" numgen random mod 100 < ${percent} drop
      }
    }\n`)
  }

  /** Larger IP packets of IKE and ESP to port 4500 vanish on their way out. @param octets 0 removes the rule */
  narrow(octets: number): void {
    this.nft('table inet lab_narrow {}\ndelete table inet lab_narrow\n')
    if (octets === 0) return
    this.nft(`table inet lab_narrow {
      chain out {
        type filter hook output priority 0
        udp dport 4500 meta length > ${octets} drop
      }
    }\n`)
  }

  /** What a daemon may change and must put back, as text to compare. Interfaces without counters, both families. */
  networkState(): string {
    const parts = [
      this.ip('-o', 'link').replace(/ state \S+| qlen \d+/g, ''),
      this.ip('-o', 'address').replace(/valid_lft .*/g, ''),
      ...['-4', '-6'].flatMap((family) => [this.ip(family, 'rule'), this.ip(family, 'route', 'show', 'table', 'all')]),
      runSync(this.enter(['nft', 'list', 'ruleset'])).stdout,
    ]
    return parts.map((part) => part.trimEnd()).join('\n')
  }

  /** Ends every process and removes the namespace. Never throws. */
  destroy(): void {
    for (const process of this.#processes) process.signal('SIGKILL')
    killInNamespace(this.netns)
    this.#holder?.signal('SIGKILL')
    runSync(['ip', 'netns', 'delete', this.netns])
  }
}
