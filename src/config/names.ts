/** Names that the kernel and the shell must take. */

/** What the kernel accepts, without `%`, which it would read as a template. */
export const INTERFACE_NAME = /^[A-Za-z0-9_.-]{1,15}$/
/** Folders of /proc/sys/net, path parts, and the loopback device. */
export const RESERVED_INTERFACE_NAMES: readonly string[] = ['.', '..', 'all', 'default', 'lo']
