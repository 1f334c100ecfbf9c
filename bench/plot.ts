/** Verdicts as an SVG: one bar per goal, how far it is there; 1 is the goal, whichever way it points. Pure. */
import type { Verdict } from './goals.ts'

const WIDTH = 760
const LABEL = 300
const ROW = 30
const TOP = 64
/** The axis ends here; what is better still is cut and says its number. */
const LARGEST = 2

/** Above 1 is better than the goal, also where less is better. */
const score = ({ value, goal, wanted }: Verdict): number => (wanted === 'at least' ? value / goal : goal / value)

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** @param caption machine and versions, a line each */
export function plotGoals(verdicts: readonly Verdict[], caption: readonly string[]): string {
  const bars = verdicts.filter(({ value }) => Number.isFinite(value))
  const scale = (WIDTH - LABEL - 90) / LARGEST
  const height = TOP + bars.length * ROW + 24 + caption.length * 16
  const rows = bars.map((verdict, i) => {
    const y = TOP + i * ROW
    const length = Math.max(1, Math.min(score(verdict), LARGEST) * scale)
    const color = verdict.reached ? '#2a7f4f' : '#b4552d'
    const sign = verdict.wanted === 'at least' ? '≥' : '≤'
    return [
      `<text x="${LABEL - 8}" y="${y + 15}" text-anchor="end">${escaped(verdict.title)}</text>`,
      `<rect x="${LABEL}" y="${y + 2}" width="${length.toFixed(1)}" height="18" fill="${color}"/>`,
      `<text x="${(LABEL + length + 6).toFixed(1)}" y="${y + 15}">${verdict.value.toFixed(2)} (${sign} ${verdict.goal})</text>`,
    ].join('\n')
  })
  const goalX = LABEL + scale
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/>
<text x="16" y="26" font-size="17">tsvpn, measured against its goals</text>
<text x="${goalX}" y="${TOP - 10}" text-anchor="middle" fill="#666">goal</text>
${rows.join('\n')}
<line x1="${goalX}" x2="${goalX}" y1="${TOP - 4}" y2="${TOP + bars.length * ROW}" stroke="#666" stroke-dasharray="4 3"/>
${caption.map((line, i) => `<text x="16" y="${height - 12 - (caption.length - 1 - i) * 16}" fill="#666" font-size="12">${escaped(line)}</text>`).join('\n')}
</svg>
`
}
