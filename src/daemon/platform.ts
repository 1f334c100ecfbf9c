/** The real things behind `Platform`, each loaded when it is needed so that a start pays for nothing it does not use. */
import type { Platform } from './types.ts'

export const defaultPlatform: Platform = {
  async loadAddon() {
    const { loadNative } = await import('../io/native.ts')
    const { adoptAddon } = await import('../crypto/registry.ts')
    const addon = loadNative()
    adoptAddon(addon)
    return addon
  },
  async bootShard() {
    const { bootShard } = await import('../datapath/pool.ts')
    return bootShard()
  },
  async createEndpoint(options, env) {
    const { IkeEndpoint } = await import('../ike/endpoint.ts')
    return new IkeEndpoint(options, env)
  },
  async createJobRunner(logger) {
    const { createJobRunner } = await import('./jobs.ts')
    return createJobRunner(logger)
  },
}
