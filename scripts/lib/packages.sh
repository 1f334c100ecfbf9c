# Debian packages: what each part needs, by the file that proves it is there, and how the missing ones are installed.
# Sourced, never run. Installs only what is missing, starts and enables no service.
# shellcheck shell=bash

# part   package                       proof (a command, or an absolute path)
PACKAGES='
build    g++                           g++
build    make                          make
build    python3                       python3
build    git                           git
net      iproute2                      ip
net      iputils-ping                  ping
net      nftables                      nft
net      util-linux                    nsenter
net      procps                        sysctl
demo     iperf3                        iperf3
lab      iperf3                        iperf3
lab      socat                         socat
lab      tcpdump                       tcpdump
lab      tshark                        tshark
lab      gcc                           gcc
lab      clang                         clang
lab      libclang-rt-14-dev            /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a
lab      libssl-dev                    /usr/include/openssl/evp.h
lab      strongswan-charon             /usr/lib/ipsec/charon
lab      strongswan-swanctl            swanctl
lab      libcharon-extra-plugins       /usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so
lab      libstrongswan-extra-plugins   /usr/lib/ipsec/plugins/libstrongswan-chapoly.so
lab      libstrongswan-standard-plugins /usr/lib/ipsec/plugins/libstrongswan-openssl.so
lab      wireguard-go                  wireguard-go
lab      wireguard-tools               wg
'
# Made for x86-64 alone. The addon is built without it as well, and then has OpenSSL's ciphers only.
[ "$(uname -m)" != x86_64 ] || PACKAGES+='
build    libipsec-mb-dev               /usr/include/intel-ipsec-mb.h
'

# missing_packages PART… prints the packages of these parts whose proof is not there, one per line.
missing_packages() {
  local part package proof wanted=" $* "
  while read -r part package proof; do
    [ -n "$part" ] || continue
    case "$wanted" in *" $part "*) ;; *) continue ;; esac
    case "$proof" in
      /*) [ -e "$proof" ] || echo "$package" ;;
      *) have "$proof" || echo "$package" ;;
    esac
  done <<<"$PACKAGES" | sort -u
}

# Services that the packages above would enable at boot.
LAB_SERVICES="strongswan-starter.service strongswan.service"

# install_packages PART… installs what is missing of these parts; does nothing, and needs no root, when nothing is.
install_packages() {
  local missing
  missing=$(missing_packages "$@" | tr '\n' ' ')
  [ -n "${missing// /}" ] || return 0
  have apt-get || die "missing: $missing(Debian package names; there is no apt-get here, so install them by hand)"
  say "Installing Debian packages: $missing"
  # shellcheck disable=SC2086
  apt_install $missing || {
    say "Refreshing the package lists"
    as_root apt-get -qq update || die "apt-get update failed: see the lines above"
    # shellcheck disable=SC2086
    apt_install $missing || die "could not install: $missing"
  }
}

# policy-rc.d is Debian's way to say that an installation may start no daemon; ours is there only meanwhile.
apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive SERVICES="$LAB_SERVICES" bash -c '
    policy=/usr/sbin/policy-rc.d ours=
    enabled_before=$(for s in $SERVICES; do systemctl is-enabled --quiet "$s" 2>/dev/null && echo "$s"; done)
    cleanup() {
      [ -z "$ours" ] || rm -f "$policy"
      for s in $SERVICES; do
        case " $enabled_before " in *"$s"*) continue ;; esac
        systemctl is-enabled --quiet "$s" 2>/dev/null && systemctl --quiet disable "$s"
      done
      true
    }
    trap cleanup EXIT
    trap "exit 130" INT TERM
    if [ ! -e "$policy" ]; then
      ours=1
      printf "#!/bin/sh\nexit 101\n" >"$policy"
      chmod 755 "$policy"
    fi
    apt-get -qq -y --no-install-recommends install "$@" </dev/null
  ' apt_install "$@"
}
