/** The addon as tsvpn loads it, in the bench's own process: for what it costs to seal, and for the name of what seals. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { NativeAddon } from '../src/io/native.ts'
import { REPO } from '../test/lab/lib/paths.ts'

/** @returns the addon, or why it could not be loaded */
export async function loadAddon(): Promise<NativeAddon | string> {
  try {
    // Out of dist, where the loader finds the addon beside it.
    const url = pathToFileURL(join(REPO, 'dist/io/native.js')).href
    const { loadNative } = (await import(url)) as { loadNative: () => NativeAddon }
    return loadNative()
  } catch (error) {
    return (error as Error).message
  }
}
