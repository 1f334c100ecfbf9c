/** Numbers and text for people: durations, sizes, ages, columns, colours. Pure. */

export interface Style {
  readonly color: boolean
}

const CODES = { green: 32, yellow: 33, red: 31, dim: 2, bold: 1 } as const

export type Tint = keyof typeof CODES

export function tint(style: Style, name: Tint, text: string): string {
  return style.color ? `\u001b[${CODES[name]}m${text}\u001b[0m` : text
}

/** @returns `0.4 ms`, `38 ms`, `4.2 s`, `3 min`, `2 h 5 min`, `3 d 4 h` */
export function formatMs(ms: number): string {
  if (ms < 1) return `${ms.toFixed(1)} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`
  const minutes = Math.round(ms / 60_000)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return pair(hours, 'h', minutes % 60, 'min')
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h')
}

function pair(big: number, bigUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${big} ${bigUnit}` : `${big} ${bigUnit} ${small} ${smallUnit}`
}

/** @returns `0 B`, `820 B`, `1.5 KiB`, `3.2 GiB` */
export function formatBytes(bytes: number): string {
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  if (bytes < 1024) return `${bytes} B`
  let value = bytes / 1024
  let unit = 0
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${value.toFixed(1)} ${units[unit]}`
}

/** @returns `1 packet`, `12 packets` */
export function count(n: number, noun: string, plural = `${noun}s`): string {
  return `${n} ${n === 1 ? noun : plural}`
}

/** A few, then how many more: a gateway's list must not fill the screen. */
export function shortList(items: readonly string[], limit = 4): string {
  if (items.length <= limit) return items.join(', ')
  return `${items.slice(0, limit).join(', ')} and ${items.length - limit} more`
}

/** @returns text without what could drive a terminal: the last fence before the screen, whoever wrote the text */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must go
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
}

/** Address and port, brackets around IPv6. */
export function formatEndpoint(endpoint: { readonly address: string; readonly port: number }): string {
  const host = endpoint.address.includes(':') ? `[${endpoint.address}]` : endpoint.address
  return `${host}:${endpoint.port}`
}

/** @returns a copy with every text inside made printable: what came from a peer cannot drive the terminal */
export function printableDeep<T>(value: T): T
export function printableDeep(value: unknown): unknown {
  if (typeof value === 'string') return printable(value)
  if (Array.isArray(value)) return value.map(printableDeep)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [printable(key), printableDeep(inner)]))
}
