/** Threads of the datapath that end by themselves, with threads that are none. */
import { describe, expect, it } from 'vitest'
import type { ShardBoot, ShardExit, ShardHandle } from '../../src/datapath/pool.ts'
import { Shards, type ShardsOptions } from '../../src/datapath/shards.ts'

interface FakeThread {
  readonly tunFd: number
  isStopped: boolean
  end(error: Error): void
}

function fakes(change: Partial<ShardsOptions> = {}) {
  const threads: FakeThread[] = []
  const said: string[] = []
  let time = 0
  let failing: Error | undefined
  const boot = (): ShardBoot => ({
    start: async ({ tunFd }): Promise<ShardHandle> => {
      if (failing !== undefined) throw failing
      let settle: (exit: ShardExit) => void = () => {}
      const exited = new Promise<ShardExit>((resolve) => {
        settle = resolve
      })
      const thread: FakeThread = { tunFd, isStopped: false, end: (error) => settle({ error }) }
      threads.push(thread)
      const stop = async () => {
        thread.isStopped = true
        settle({ error: undefined })
      }
      return { exited, stop }
    },
    cancel: async () => {},
  })
  const options: ShardsOptions = {
    descriptors: [
      { tunFd: 10, udp: [] },
      { tunFd: 11, udp: [] },
    ],
    boot,
    onEvent: () => {},
    onRestart: ({ message }, ms) => said.push(`replaced after ${ms}: ${message}`),
    onFailed: ({ message }) => said.push(`failed: ${message}`),
    now: () => time,
    ...change,
  }
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
  return {
    options,
    threads,
    said,
    settled,
    pass: (ms: number) => {
      time += ms
    },
    refuse: (error: Error | undefined) => {
      failing = error
    },
  }
}

describe('shards', () => {
  it('one that ends is replaced over the same descriptors; the others go on', async () => {
    const { options, threads, said, settled } = fakes()
    const shards = await Shards.start(options)
    threads[1]?.end(new Error('out of memory'))
    await settled()
    expect(said).toEqual(['replaced after 0: out of memory'])
    expect(threads.map(({ tunFd, isStopped }) => [tunFd, isStopped])).toEqual([
      [10, false],
      [11, false],
      [11, false],
    ])
    expect([shards.count, shards.restarts]).toEqual([2, 1])
    await shards.stop()
    expect(threads.map(({ isStopped }) => isStopped)).toEqual([true, false, true])
    expect(said).toHaveLength(1)
  })

  it('the sixth end within a minute is a failure; ends that lie apart are not', async () => {
    const { options, threads, said, settled, pass } = fakes()
    await Shards.start(options)
    const endLast = async () => {
      threads.at(-1)?.end(new Error('again'))
      await settled()
    }
    for (let i = 0; i < 20; i++) {
      await endLast()
      pass(20_000)
    }
    expect(said.filter((line) => line.startsWith('failed'))).toEqual([])
    pass(60_000)
    for (let i = 0; i < 6; i++) await endLast()
    expect(said.at(-1)).toBe('failed: again')
    expect(said.filter((line) => line.startsWith('failed'))).toHaveLength(1)
  })

  it('a thread that cannot be replaced is a failure', async () => {
    const { options, threads, said, settled, refuse } = fakes()
    await Shards.start(options)
    refuse(new Error('no more threads'))
    threads[0]?.end(new Error('gone'))
    await settled()
    expect(said).toEqual(['failed: no more threads'])
  })

  it('when one cannot start, none is left', async () => {
    const { options, threads, refuse } = fakes()
    const boot = options.boot
    let calls = 0
    const second = (): ReturnType<typeof boot> => {
      calls++
      if (calls === 2) refuse(new Error('EAGAIN'))
      return boot()
    }
    await expect(Shards.start({ ...options, boot: second })).rejects.toThrow('EAGAIN')
    expect(threads.every(({ isStopped }) => isStopped)).toBe(true)
  })

  it('ends while a replacement starts: the new thread ends, too', async () => {
    const { options, threads, settled } = fakes()
    let isLate = false
    let load: () => void = () => {}
    const loaded = new Promise<void>((resolve) => {
      load = resolve
    })
    const shards = await Shards.start({
      ...options,
      boot: async () => {
        if (isLate) await loaded
        return options.boot()
      },
    })
    isLate = true
    threads[0]?.end(new Error('gone'))
    await settled()
    const stopped = shards.stop()
    load()
    await stopped
    expect(threads.map(({ tunFd, isStopped }) => [tunFd, isStopped])).toEqual([
      [10, false],
      [11, true],
      [10, true],
    ])
  })
})
