/** Gives the addon to the registry, so that tests over every provider have its entries, too. */
import { adoptAddon } from '../../src/crypto/registry.ts'
import { loadNative } from '../../src/io/native.ts'

adoptAddon(loadNative())
