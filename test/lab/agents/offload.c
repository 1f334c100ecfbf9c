// Switches an offload of a device, as `ethtool -K DEVICE gro on` does. usage: offload DEVICE gro|tso on|off
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  struct ethtool_value value = {.cmd = strcmp(argv[2], "gro") == 0 ? ETHTOOL_SGRO : ETHTOOL_STSO,
                                .data = strcmp(argv[3], "on") == 0};
  struct ifreq request = {.ifr_data = (char *)&value};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request) < 0) {
    perror("SIOCETHTOOL");
    return 1;
  }
  return 0;
}
