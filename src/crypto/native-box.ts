/**
 * Where small inputs of the addon's primitives lie and their small results come back (NativePrimitives). One array for all
 * calls, since none of them calls back; it is zero between two of them.
 */
const SIZE = 4_096

const shared = new Uint8Array(SIZE)

/** @returns what `use` makes of a box with the parts one behind the other; whatever was in it is wiped */
export function withBox<T>(parts: readonly Uint8Array[], resultLength: number, use: (box: Uint8Array) => T): T {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const used = Math.max(length, resultLength)
  const box = used <= SIZE ? shared : new Uint8Array(used)
  let at = 0
  for (const part of parts) {
    box.set(part, at)
    at += part.length
  }
  try {
    return use(box)
  } finally {
    box.fill(0, 0, used)
  }
}
