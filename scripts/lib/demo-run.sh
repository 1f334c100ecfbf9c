# The demo itself, once everything is built: two hosts, keys, two daemons, traffic, and the way back. Sourced, never run.
# shellcheck shell=bash

GATEWAY_NS=tsvpn-demo-$$-gateway
LAPTOP_NS=tsvpn-demo-$$-laptop
WORK=
PIDS=()

on_gateway() { ip netns exec "$GATEWAY_NS" "$@"; }
on_laptop() { ip netns exec "$LAPTOP_NS" "$@"; }
tsvpn() { node "$REPO/dist/cli/main.js" "$@"; }
indent() { sed 's/^/    /'; }
now_ms() { local t=$EPOCHREALTIME; echo $((${t/[.,]/} / 1000)); }

# Removes what the demo made, in reverse; runs on every way out.
take_down() {
  local status=$? pid ns
  trap - EXIT
  trap '' INT TERM HUP
  # Only the laptop's daemon may have been asked already; a second TERM is harmless.
  for pid in "${PIDS[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${PIDS[@]}"; do
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null && sleep 0.1 || break; done
  done
  for ns in "$GATEWAY_NS" "$LAPTOP_NS"; do
    [ -e "/run/netns/$ns" ] || continue
    for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
    ip netns delete "$ns" || true
  done
  if [ "$status" != 0 ] && [ "$status" != 130 ] && [ -n "$WORK" ]; then
    for log in "$WORK"/*.log; do
      [ -s "$log" ] || continue
      echo "--- $(basename "$log")" >&2
      tail -n 20 "$log" >&2
    done
  fi
  [ -z "$WORK" ] || rm -rf "$WORK"
  say "Everything is taken down again"
  exit "$status"
}

make_hosts() {
  say "Two hosts, as network namespaces joined by a veth pair"
  ip netns add "$GATEWAY_NS"
  ip netns add "$LAPTOP_NS"
  ip link add eth0 netns "$GATEWAY_NS" type veth peer name eth0 netns "$LAPTOP_NS"
  local ns
  for ns in "$GATEWAY_NS" "$LAPTOP_NS"; do
    ip -n "$ns" link set lo up
    ip -n "$ns" link set eth0 up
  done
  ip -n "$GATEWAY_NS" address add 192.0.2.1/24 dev eth0
  ip -n "$LAPTOP_NS" address add 192.0.2.2/24 dev eth0
  echo "    gateway  192.0.2.1    inside the tunnel 10.1.0.1"
  echo "    laptop   192.0.2.2    inside the tunnel 10.2.0.1"
}

make_configuration() {
  say "A key for each (tsvpn keygen), and what each host needs to know (peer.yaml)"
  (cd "$WORK" && tsvpn keygen -o gateway.key >/dev/null && tsvpn keygen -o laptop.key >/dev/null)
  cat >"$WORK/gateway.yaml" <<YAML
interface: { name: tsvpn0, addresses: [10.1.0.1/24] }
local: { id: gateway, key: gateway.key }
peers:
  laptop:
    address: any
    id: laptop
    publicKey: $(tsvpn pubkey "$WORK/laptop.key")
    tunnels:
      net: { local: [10.1.0.0/24], remote: [10.2.0.0/24] }
YAML
  cat >"$WORK/laptop.yaml" <<YAML
interface: { name: tsvpn0, addresses: [10.2.0.1/24] }
local: { id: laptop, key: laptop.key }
peers:
  gateway:
    address: 192.0.2.1
    id: gateway
    publicKey: $(tsvpn pubkey "$WORK/gateway.key")
    tunnels:
      net: { local: [10.2.0.0/24], remote: [10.1.0.0/24] }
YAML
  indent <"$WORK/laptop.yaml"
}

# start NAME: `tsvpn up NAME.yaml` on that host, output into NAME.log.
start() {
  local name=$1 ns
  case "$name" in gateway) ns=$GATEWAY_NS ;; *) ns=$LAPTOP_NS ;; esac
  ip netns exec "$ns" env TSVPN_RUN_DIR="$WORK/$name-run" node "$REPO/dist/cli/main.js" up "$WORK/$name.yaml" \
    >"$WORK/$name.log" 2>&1 </dev/null &
  PIDS+=("$!")
}

# still_runs PID NAME: dies with the log's end when the daemon is gone.
still_runs() { kill -0 "$1" 2>/dev/null || die "tsvpn on the $2 ended: see its log below"; }

bring_up() {
  say "gateway# tsvpn up gateway.yaml"
  start gateway
  local gateway_pid=${PIDS[-1]} started elapsed
  for _ in $(seq 500); do
    [ -n "$(ls "$WORK/gateway-run" 2>/dev/null)" ] && ip -n "$GATEWAY_NS" link show tsvpn0 >/dev/null 2>&1 && break
    still_runs "$gateway_pid" gateway
    sleep 0.02
  done
  sleep 0.3
  say "laptop# tsvpn up laptop.yaml"
  started=$(now_ms)
  start laptop
  local laptop_pid=${PIDS[-1]}
  until on_laptop ping -n -c 1 -W 0.05 10.1.0.1 >/dev/null 2>&1; do
    still_runs "$laptop_pid" laptop
    [ $(($(now_ms) - started)) -lt 20000 ] || die "no ping reply through the tunnel within 20 seconds"
    sleep 0.01
  done
  elapsed=$(($(now_ms) - started))
  sleep 0.1
  indent <"$WORK/gateway.log"
  echo "    --"
  indent <"$WORK/laptop.log"
  say "First ping reply $elapsed ms after the laptop's command"
}

send_traffic() {
  say "laptop# ping -c 5 10.1.0.1"
  on_laptop ping -n -c 5 -i 0.2 10.1.0.1 | tail -n 2 | indent
  say "laptop# iperf3 -c 10.1.0.1 -t $1     (one TCP stream through the tunnel)"
  on_gateway iperf3 -s -1 --forceflush >"$WORK/iperf-server.log" 2>&1 </dev/null &
  for _ in $(seq 100); do
    grep -q listening "$WORK/iperf-server.log" && break
    sleep 0.02
  done
  on_laptop iperf3 -c 10.1.0.1 -t "$1" -i "$(($1 > 5 ? 2 : 1))" --forceflush 2>&1 | tee "$WORK/iperf.log" |
    grep --line-buffered 'bits/sec' | grep --line-buffered -v -E 'sender|receiver' | indent
  GBITS=$(awk '/receiver/ { if ($8 ~ /^M/) $7 /= 1000; if ($8 ~ /^K/) $7 /= 1e6; printf "%.2f", $7 }' "$WORK/iperf.log")
  [ -n "$GBITS" ] || die "iperf3 did not report a result"
}

summary() {
  say "laptop# tsvpn status"
  TSVPN_RUN_DIR="$WORK/laptop-run" tsvpn status | indent
  say "What happened"
  echo "    Two daemons in TypeScript proved their Ed25519 keys to each other with IKEv2, agreed on the keys of an ESP"
  echo "    tunnel, and carried one TCP stream at $GBITS Gbit/s, encrypted, with both ends on this machine."
}

run_demo() {
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/tsvpn-demo.XXXXXX")
  trap take_down EXIT
  trap 'exit 130' INT TERM HUP
  make_hosts
  make_configuration
  bring_up
  send_traffic "$1"
  summary
}
