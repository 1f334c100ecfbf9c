# Building the checkout: npm dependencies, the addon, TypeScript; each only when it is older than what it is made of.
# Sourced, never run.
# shellcheck shell=bash

require_node() {
  have node || die "node is not installed: tsvpn needs Node 20.19 or newer (https://nodejs.org)"
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    die "Node $(node --version) is too old: tsvpn needs 20.19 or newer"
}

# newer_than FILE PATH…: some file below the paths is newer than FILE, or FILE is not there.
newer_than() {
  local product=$1
  shift
  [ -e "$product" ] || return 0
  [ -n "$(find "$@" -type f -newer "$product" -not -path '*/build/*' -print -quit 2>/dev/null)" ]
}

# header_came_after FILE: intel-ipsec-mb's header was installed since FILE was built; packages keep their old mtimes.
header_came_after() {
  local header=/usr/include/intel-ipsec-mb.h
  [ -e "$header" ] && [ -n "$(find "$header" -newercm "$1" -print -quit)" ]
}

build_dependencies() {
  if newer_than node_modules/.package-lock.json package-lock.json; then
    say "Installing npm dependencies (npm ci)"
    npm ci --no-audit --no-fund --loglevel=error
  fi
}

build_addon() {
  local product=native/build/Release/tsvpn.node
  newer_than "$product" native || header_came_after "$product" || return 0
  # Headers that came with this very node save node-gyp a download.
  local prefix
  prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  [ ! -e "$prefix/include/node/node_api.h" ] || export npm_config_nodedir="$prefix"
  say "Building the addon (node-gyp)"
  npm run --silent build:native >native-build.log 2>&1 || {
    tail -n 40 native-build.log >&2
    die "the addon did not build; the whole output is in native-build.log"
  }
  rm -f native-build.log
}

build_typescript() {
  if newer_than dist/cli/main.js src tsconfig.json tsconfig.build.json package.json; then
    say "Compiling TypeScript"
    npm run --silent build:ts
  fi
}

# build_all: everything, from the repository's root. Two that start at once wait for each other.
build_all() {
  require_node
  cd "$REPO" || exit 1
  exec 9<"$REPO/package.json"
  flock 9
  build_dependencies
  build_addon
  build_typescript
  exec 9<&-
}
