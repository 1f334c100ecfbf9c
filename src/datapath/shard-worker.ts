/** Entry of a shard's worker thread. */
import { parentPort } from 'node:worker_threads'
import { loadNative } from '../io/native.ts'
import { runShard } from './shard.ts'

if (parentPort === null) throw new Error('shard-worker runs as a worker thread only')
runShard(parentPort, loadNative())
