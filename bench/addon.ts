/** The addon of this checkout, for what runs out of dist-bench. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { NativeAddon } from '../src/io/native.ts'
import { REPO } from '../test/lab/lib/paths.ts'

export async function loadAddon(): Promise<NativeAddon> {
  // Out of dist, where the loader finds the addon beside it.
  const url = pathToFileURL(join(REPO, 'dist/io/native.js')).href
  const loader = (await import(url)) as { loadNative?: () => NativeAddon; loadAddon?: () => NativeAddon }
  const load = loader.loadAddon ?? loader.loadNative
  if (!load) throw new Error('dist/io/native.js exports no loader')
  return load()
}
