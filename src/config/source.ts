/**
 * YAML 1.2 text to plain values with the position of every key and value. Bounds what a file may cost: size, depth and
 * alias expansion. Knows nothing of what the keys mean.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml'
import { type Diagnostic, formatKey, type KeyPath, type Position } from './diagnostics.ts'

/** Ten thousand peers fit; a file that is no configuration does not. */
export const MAX_FILE_OCTETS = 4 * 1024 * 1024
const MAX_ALIAS_EXPANSION = 1000
const MAX_DEPTH = 32

export interface Source {
  readonly file: string
  /** Plain value of the whole file. */
  readonly value: unknown
  /** Position of the value at `path`, or of its key when `of` is 'key'; of the nearest existing parent otherwise. */
  locate(path: KeyPath, of?: 'key' | 'value'): Position
  /** Text of a scalar as written, without quotes. */
  written(path: KeyPath): string | undefined
}

/** The parser's own texts may quote the file, and so a secret; these do not. */
const SYNTAX: Readonly<Record<string, string>> = {
  ALIAS_PROPS: 'an alias (*name) cannot have a tag or an anchor',
  BAD_ALIAS: 'an alias (*name) without a name',
  BAD_DIRECTIVE: 'a line that begins with % is read as a directive; put text that begins with % in quotes',
  BAD_DQ_ESCAPE: 'a backslash in double quotes begins an escape that does not exist; use single quotes',
  BAD_INDENT: 'the indentation does not match the lines above, or a closing ] or } is missing',
  BAD_PROP_ORDER: 'an anchor or tag stands in the wrong place',
  BAD_SCALAR_START: 'a value cannot begin with this character; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a nested list or mapping cannot stand on the line of its key',
  BLOCK_IN_FLOW: 'a block cannot stand inside [ ] or { }',
  DUPLICATE_KEY: 'this key stands twice in the same mapping',
  IMPOSSIBLE: 'not YAML',
  KEY_OVER_1024_CHARS: 'this key is too long',
  MISSING_CHAR: 'a closing quote, bracket, brace, comma or colon is missing',
  MULTILINE_IMPLICIT_KEY: 'a key must stand on one line; is a colon missing or too much?',
  MULTIPLE_ANCHORS: 'two anchors on one value',
  MULTIPLE_DOCS: 'more than one document (---) in the file',
  MULTIPLE_TAGS: 'two tags on one value',
  NON_STRING_KEY: 'a key must be text',
  TAB_AS_INDENT: 'a tab in the indentation; YAML wants spaces',
  TAG_RESOLVE_FAILED: 'a tag (!name) that is not supported; put text that begins with ! in quotes',
  UNEXPECTED_TOKEN: 'this does not belong here',
}

/** @returns the source, or the syntax mistakes of the file */
export function parseSource(text: string, file: string): Source | readonly Diagnostic[] {
  const fault = (message: string, position?: Position, key = ''): Diagnostic => ({
    file,
    line: position?.line ?? 0,
    column: position?.column ?? 0,
    key,
    message,
    code: 'TSVPN_CONFIG_INVALID',
  })
  const lines = new LineCounter()
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  try {
    const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, logLevel: 'error' })
    // Warnings are about unknown tags and directives: text that was meant otherwise than it is read.
    const complaints = [...doc.errors, ...doc.warnings]
    if (complaints.length > 0) {
      return complaints.slice(0, 20).map((e) => fault(`not valid YAML: ${SYNTAX[e.code] ?? e.code}`, at(e.pos[0])))
    }
    const faults = checkTree(doc).map(({ node, message }) => fault(message, at(node.range?.[0] ?? 0)))
    if (faults.length > 0) return faults
    const value: unknown = doc.toJS({ maxAliasCount: MAX_ALIAS_EXPANSION })
    return {
      file,
      value,
      locate: (path, of = 'value') => at(findNode(doc, path, of)?.range?.[0] ?? 0),
      written: (path) => {
        const node = findNode(doc, path, 'exact')
        return isScalar(node) ? node.source : undefined
      },
    }
  } catch (error) {
    // toJS ends an alias bomb with a ReferenceError, the composer runs out of stack on absurd nesting.
    if (error instanceof ReferenceError) return [fault('not valid YAML: aliases expand to too many values')]
    if (error instanceof RangeError) return [fault('not valid YAML: nested too deeply')]
    throw error
  }
}

/** What toJS would throw at without a position, or accept though it means trouble. */
function checkTree(doc: Document.Parsed): { node: Node; message: string }[] {
  const found: { node: Node; message: string }[] = []
  visit(doc, {
    Alias(_, node) {
      if (node.resolve(doc) === undefined) {
        found.push({
          node,
          message: 'not valid YAML: an alias (*name) without its anchor; put text that begins with * in quotes',
        })
      }
    },
    Collection(_, node, path) {
      if (path.length > MAX_DEPTH * 2) {
        found.push({ node, message: 'not valid YAML: nested too deeply' })
        return visit.BREAK
      }
      return undefined
    },
  })
  return found
}

/** The node at `path`; with 'exact' undefined unless all of it exists, else the deepest that does. */
function findNode(doc: Document.Parsed, path: KeyPath, of: 'key' | 'value' | 'exact'): Node | undefined {
  let node: Node | undefined = doc.contents ?? undefined
  for (const [depth, part] of path.entries()) {
    if (isAlias(node)) node = node.resolve(doc)
    let next: Node | undefined
    if (isMap(node)) {
      const pair = node.items.find((item) => (isScalar(item.key) ? String(item.key.value) : undefined) === String(part))
      const keyNode = pair?.key as Node | undefined
      next = depth === path.length - 1 && of === 'key' ? keyNode : ((pair?.value ?? keyNode) as Node | undefined)
    } else if (isSeq(node) && typeof part === 'number') {
      next = node.items[part] as Node | undefined
    }
    // A single value may stand for a list of one: it is its own element.
    if (next === undefined && typeof part === 'number' && isScalar(node)) next = node
    if (next === undefined) return of === 'exact' ? undefined : parentKey(doc, path.slice(0, depth), node)
    node = next
  }
  return node
}

/** Where to point for a key that is missing: the key of the mapping that lacks it. */
function parentKey(doc: Document.Parsed, path: KeyPath, fallback: Node | undefined): Node | undefined {
  return path.length === 0 ? fallback : findNode(doc, path, 'key')
}

/** @returns one diagnostic at `path` */
export function diagnosticAt(
  source: Source,
  path: KeyPath,
  message: string,
  options: { of?: 'key' | 'value'; code?: Diagnostic['code']; hint?: string } = {},
): Diagnostic {
  return {
    file: source.file,
    ...source.locate(path, options.of ?? 'value'),
    key: formatKey(path),
    message,
    code: options.code ?? 'TSVPN_CONFIG_INVALID',
    ...(options.hint === undefined ? {} : { hint: options.hint }),
  }
}
