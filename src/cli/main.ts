#!/usr/bin/env node
/**
 * The command line: which commands and options there are, and what their help says. Each command stands in its own file and
 * is loaded only when it runs, so that `up` pays for nothing that it doesn't use.
 */
import { readFileSync } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { KeyKind } from '../crypto/types.ts'
import type { LogLevel } from '../env.ts'
import { EXIT, reportError } from './io.ts'
import type {
  JsonOptions,
  KeygenOptions,
  PskOptions,
  PubkeyOptions,
  RekeyOptions,
  ReloadOptions,
  RunDirOptions,
  SasOptions,
  UpOptions,
} from './options.ts'

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
const KEY_TYPES: readonly KeyKind[] = ['ed25519', 'ed448', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'rsa']

const EXIT_CODES = `
Exit codes:
  0  done
  1  failed
  2  wrong usage, or a configuration or key that is not right
  3  no tsvpn is running`

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(text) as { readonly version: string }
  return version
}

const runDir = () =>
  new Option('--run-dir <folder>', 'where running tsvpn keep their sockets').env('TSVPN_RUN_DIR').default('/run/tsvpn')
const json = () => new Option('--json', 'print JSON, one object per line')

/** Runs a command: its errors are reported here, in one form. */
function action<A extends unknown[]>(run: (...args: A) => Promise<void>) {
  return async (...args: A): Promise<void> => {
    // Commander passes the options next to last, and the command itself last.
    const options = args.at(-2) as { readonly json?: boolean }
    try {
      await run(...args)
    } catch (error) {
      reportError(error, options)
    }
  }
}

function rsaBits(text: string): number {
  const bits = Number(text)
  if (!Number.isInteger(bits) || bits < 2048 || bits > 8192) throw new InvalidArgumentError('expected 2048 to 8192')
  return bits
}

function program(): Command {
  const root = new Command('tsvpn')
    .description('A userspace IPsec VPN: IKEv2 and ESP without any kernel module.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help; `tsvpn COMMAND --help` shows examples')
    .helpCommand(false)
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText(
      'after',
      `
A first tunnel, on each of two machines:
  tsvpn keygen -o laptop.key       make this machine's key; prints the line for the other side
  tsvpn check peer.yaml            read the configuration, change nothing
  sudo tsvpn up peer.yaml          bring the tunnel up; Ctrl-C takes it down again
${EXIT_CODES}`,
    )

  root
    .command('up')
    .summary('bring the tunnels of a configuration up')
    .description(
      'Brings the tunnels of a configuration up, says what it does, and takes everything down again on Ctrl-C.\n' +
        'FILE is a path, or a bare name for /etc/tsvpn/NAME.yaml; without it, peer.yaml here or in /etc/tsvpn.',
    )
    .argument('[file]', 'configuration')
    .option('-d, --detach', 'go on in the background as soon as the tunnels are up')
    .addOption(json())
    .addOption(runDir())
    .addOption(new Option('--log-level <level>', 'log on stderr').choices(LOG_LEVELS).default('warn'))
    .option('--key-log <file>', 'DEBUGGING: write session keys for Wireshark; whoever reads it reads the traffic')
    .addHelpText(
      'after',
      `
Examples:
  sudo tsvpn up peer.yaml          in the foreground
  sudo tsvpn up -d office          /etc/tsvpn/office.yaml, in the background
  sudo tsvpn up --json peer.yaml   one JSON object per event
${EXIT_CODES}`,
    )
    .action(
      action(async (file: string | undefined, options: UpOptions) => {
        const { up } = await import('./up.ts')
        await up(file, options)
      }),
    )

  root
    .command('down')
    .summary('take a running tsvpn down')
    .description('Takes a running tsvpn down and waits until its routes, addresses and device are gone.')
    .argument('[name]', 'interface, or name of the configuration; needed when several run')
    .addOption(json())
    .addOption(runDir())
    .addHelpText('after', `\nExamples:\n  sudo tsvpn down\n  sudo tsvpn down office\n${EXIT_CODES}`)
    .action(
      action(async (name: string | undefined, options: RunDirOptions) => {
        const { down } = await import('./down.ts')
        await down(name, options)
      }),
    )

  root
    .command('status')
    .summary('show peers, tunnels, traffic, and what is not up and why')
    .description(
      'Shows what runs: peers, security associations, algorithms, addresses, bytes, and what is not up and why.',
    )
    .argument('[name]', 'interface, or name of the configuration; default all that run')
    .addOption(json())
    .addOption(runDir())
    .addHelpText(
      'after',
      `\nExamples:\n  sudo tsvpn status\n  sudo tsvpn status office --json | jq .peers\n${EXIT_CODES}`,
    )
    .action(
      action(async (name: string | undefined, options: RunDirOptions) => {
        const { status } = await import('./status.ts')
        await status(name, options)
      }),
    )

  root
    .command('rekey')
    .summary('give running tunnels new keys, without losing a packet')
    .description('Rekeys the Child SAs (the keys of the traffic) of a peer, or its IKE SA.')
    .argument('[peer]', 'default all peers')
    .option('--ike', 'rekey the IKE SA instead')
    .option('--name <name>', 'interface, or name of the configuration; needed when several run')
    .addOption(json())
    .addOption(runDir())
    .addHelpText('after', `\nExamples:\n  sudo tsvpn rekey\n  sudo tsvpn rekey office --ike\n${EXIT_CODES}`)
    .action(
      action(async (peer: string | undefined, options: RekeyOptions) => {
        const { rekey } = await import('./sas.ts')
        await rekey(peer, options)
      }),
    )

  root
    .command('terminate')
    .summary('end the connections with a peer, and leave the others alone')
    .description('Deletes the SAs of a peer. It stays down until it calls us, or until the next tsvpn up.')
    .argument('[peer]', 'default all peers')
    .option('--name <name>', 'interface, or name of the configuration; needed when several run')
    .addOption(json())
    .addOption(runDir())
    .addHelpText('after', `\nExamples:\n  sudo tsvpn terminate office\n${EXIT_CODES}`)
    .action(
      action(async (peer: string | undefined, options: SasOptions) => {
        const { terminate } = await import('./sas.ts')
        await terminate(peer, options)
      }),
    )

  root
    .command('reload')
    .summary('apply a changed configuration to a running tsvpn, and only what changed')
    .description(
      'Reads the configuration of a running tsvpn again, shows what differs, and applies that alone. A file with a mistake\n' +
        'changes nothing. On a terminal it asks first when connections or packets would be lost.',
    )
    .argument('[name]', 'interface, name or file of the configuration; needed when several run')
    .option('-n, --dry-run', 'show what would change, change nothing')
    .option('-y, --yes', 'do not ask')
    .addOption(json())
    .addOption(runDir())
    .addHelpText(
      'after',
      `\nExamples:\n  sudo tsvpn reload --dry-run\n  sudo tsvpn reload office --yes\n  sudo kill -HUP PID               the same as reload --yes, told in the log\n${EXIT_CODES}`,
    )
    .action(
      action(async (name: string | undefined, options: ReloadOptions) => {
        const { reload } = await import('./reload.ts')
        await reload(name, options)
      }),
    )

  root
    .command('check')
    .summary('read a configuration and say what is wrong with it')
    .description('Reads a configuration with the keys and secrets it names, and says what is wrong. Changes nothing.')
    .argument('[file]', 'configuration, as for up')
    .addOption(json())
    .addHelpText('after', `\nExamples:\n  tsvpn check peer.yaml\n  sudo tsvpn check office\n${EXIT_CODES}`)
    .action(
      action(async (file: string | undefined, options: JsonOptions) => {
        const { check } = await import('./check.ts')
        check(file, options)
      }),
    )

  root
    .command('keygen')
    .summary('make a private key')
    .description('Makes a private key in a new file of mode 0600, and prints the public key for the other side.')
    .option('-o, --output <file>', 'file for the private key; - prints it (default: HOSTNAME.key)')
    .addOption(new Option('-t, --type <type>', 'kind of key').choices(KEY_TYPES).default('ed25519'))
    .option('--bits <n>', 'size of an RSA key', rsaBits, 3072)
    .option('--force', 'overwrite the file: the old key is lost')
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  tsvpn keygen -o laptop.key
  tsvpn keygen -t rsa --bits 4096 -o gateway.key
${EXIT_CODES}`,
    )
    .action(
      action(async (options: KeygenOptions) => {
        const { keygen } = await import('./keys.ts')
        keygen(options)
      }),
    )

  root
    .command('pubkey')
    .summary('print the public key of a private or public key file')
    .description(
      'Prints the public key as peer.yaml wants it. Takes a private key, or the public key of another VPN in PEM.',
    )
    .argument('[file]', 'key file; - or none reads standard input')
    .option('--pem', 'print PEM, for strongSwan and others')
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  tsvpn pubkey laptop.key                       ed25519:…
  tsvpn pubkey --pem laptop.key > laptop.pem    for /etc/swanctl/pubkey/ of strongSwan
${EXIT_CODES}`,
    )
    .action(
      action(async (file: string | undefined, options: PubkeyOptions) => {
        const { pubkey } = await import('./keys.ts')
        pubkey(file, options)
      }),
    )

  root
    .command('psk')
    .summary('make a strong pre-shared key')
    .description('Makes a pre-shared key of 256 random bits. Both sides need the same one; keys (keygen) are better.')
    .option('-o, --output <file>', 'write it to a new file of mode 0600 instead of printing it')
    .option('--force', 'overwrite the file')
    .addOption(json())
    .addHelpText('after', `\nExamples:\n  tsvpn psk -o office.psk\n${EXIT_CODES}`)
    .action(
      action(async (options: PskOptions) => {
        const { psk } = await import('./keys.ts')
        psk(options)
      }),
    )
  return root
}

// A reader that went away (`tsvpn up | head`) must not end a tunnel, nor leave its routes behind.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})

try {
  await program().parseAsync()
} catch (error) {
  // Commander has printed its message; --help and --version end here too, with 0.
  const code = error instanceof Error && 'exitCode' in error ? error.exitCode : undefined
  if (code === undefined) reportError(error, {})
  else process.exitCode = code === 0 ? EXIT.ok : EXIT.usage
}
