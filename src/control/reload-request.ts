/** The body of `POST /v1/reload`, checked. It names no file: the daemon reads the one that it was started from. */
import * as z from 'zod'
import type { ReloadRequest } from './api.ts'

const schema = z.strictObject({
  dryRun: z.boolean(),
  planId: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .nullable(),
})

/** @returns undefined for anything else than a request of exactly these fields */
export function parseReloadRequest(text: string): ReloadRequest | undefined {
  try {
    const parsed = schema.safeParse(JSON.parse(text))
    return parsed.success ? parsed.data : undefined
  } catch {
    return undefined
  }
}
