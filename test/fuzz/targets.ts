/** What is fuzzed, by name. */
import type { Target } from './engine.ts'
import { initiator, responder } from './targets/endpoint.ts'
import { fragments } from './targets/fragments.ts'
import { strangers } from './targets/strangers.ts'
import { clear, inner } from './targets/wire.ts'

export const TARGETS: readonly Target[] = [clear, inner, responder, initiator, fragments, strangers]
