{
  "targets": [
    {
      "target_name": "tsvpn",
      "sources": [
        "addon.cc", "addon_fd.cc", "addon_loop.cc", "addon_sadb.cc", "addon_pure.cc", "addon_crypto.cc", "napi_args.cc",
        "shard.cc", "outbound.cc", "inbound.cc", "transmit.cc", "ike_socket.cc", "cookie.cc",
        "icmp_socket.cc", "icmp_report.cc", "too_big.cc", "mss.cc",
        "tun.cc", "udp.cc", "segment.cc", "coalesce.cc", "checksum.cc", "ip.cc", "selector.cc",
        "sadb.cc", "policy_index.cc", "held.cc", "replay.cc", "esp_packet.cc", "drop.cc", "ike_crypto.cc",
        "esp_suite.cc", "aead_evp.cc", "aead_mb.cc", "backends.cc", "self_test.cc",
        "traffic_class.cc"
      ],
      "defines": ["NAPI_VERSION=8"],
      "cflags!": ["-O2"],
      "cflags_cc!": ["-O2", "-fno-omit-frame-pointer"],
      "cflags_cc": ["-std=c++17", "-O3", "-Wall", "-Wextra", "-fno-exceptions", "-fno-rtti", "-fvisibility=hidden", "-fno-plt"],
      "libraries": ["-ldl"],
      "ldflags": ["-Wl,-z,now", "-Wl,--exclude-libs,ALL"]
    }
  ]
}
