/** A plain table for the terminal; numbers to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => [...(row[column] ?? '')].length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd()
  const [head, ...body] = rows
  const rule = widths.map((width) => '─'.repeat(width)).join('  ')
  return [line(head ?? []), rule, ...body.map(line)].join('\n')
}

export const gbit = (bitsPerSecond: number): string => (bitsPerSecond / 1e9).toFixed(2)
export const kilo = (perSecond: number): string => (perSecond / 1000).toFixed(1)
