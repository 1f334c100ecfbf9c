/** Faults planted for the tests of the fuzzer itself: they lie behind conditions that chance alone would not meet. */

/** @throws when the input begins with a word that only one who looks at the coverage spells */
export function lock(input: Uint8Array): void {
  if (input[0] !== 0x6c) return
  if (input[1] !== 0x6f) return
  if (input[2] !== 0x63) return
  if (input[3] === 0x6b) throw new Error(`open after ${input.length} octets`)
}

/** Busy for as many milliseconds of CPU as the first octet says, whoever else uses the machine. */
export function busy(input: Uint8Array): void {
  const start = process.cpuUsage()
  const spent = () => {
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1_000
  }
  while (spent() < (input[0] ?? 0));
}
