// SPDX-License-Identifier: Apache-2.0

/// Steps of a Linux guest that resets devices many times while it uses them.
///
/// The steps compare all data that they read and write, and count every failure. A step with a failure is not
/// ok. `lab.resets=N` on the kernel's command line is the number of resets of each device.
enum GuestLoad {
  static let script = #"""
    # bump FILE: increments the number in the file
    bump() { echo $(($(cat $1) + 1)) >$1; }
    # The reader reads the first half of the drive repeatedly. The writer writes the second half and reads it
    # back.
    nvme_reader() {
      while [ ! -e /tmp/nvme-stop ]; do
        got=$(dd if=/dev/$1 bs=64k count=128 iflag=direct 2>/dev/null | sha256sum | cut -c1-64)
        [ $got = $2 ] && bump /tmp/reads || bump /tmp/nvme-bad
      done
    }
    nvme_writer() {
      place=128
      while [ ! -e /tmp/nvme-stop ]; do
        dd if=/dev/urandom of=/tmp/piece bs=64k count=8 2>/dev/null
        dd if=/tmp/piece of=/dev/$1 bs=64k seek=$place oflag=direct 2>/dev/null || bump /tmp/nvme-bad
        dd if=/dev/$1 of=/tmp/back bs=64k skip=$place count=8 iflag=direct 2>/dev/null || bump /tmp/nvme-bad
        cmp -s /tmp/piece /tmp/back && bump /tmp/writes || bump /tmp/nvme-bad
        place=$((place + 8)); [ $place -lt 256 ] || place=128
      done
    }
    is_live() { [ "$(cat /sys/class/nvme/$1/state)" = live ]; }
    nvme_load() {
      load nvme
      until_ 30 all_drives || { echo "lab: not ok nvme-load the drive is not ready"; return; }
      drive=$(drives); drive=${drive##*/}
      function=$(functions 0x010802)
      until_ 10 opens $drive
      for name in reads writes nvme-bad; do echo 0 >/tmp/$name; done
      sum=$(dd if=/dev/$drive bs=64k count=128 iflag=direct 2>/dev/null | sha256sum | cut -c1-64)
      echo flr >$function/reset_method || { echo "lab: not ok nvme-load the drive has no FLR"; return; }
      nvme_reader $drive $sum & nvme_writer $drive &
      resets=0
      while [ $resets -lt $wanted ]; do
        echo 1 >$function/reset || { echo "lab: not ok nvme-load the kernel refused reset $resets"; break; }
        until_ 20 is_live ${drive%n1} || { echo "lab: not ok nvme-load not live after $resets resets"; break; }
        resets=$((resets + 1))
      done
      touch /tmp/nvme-stop; wait
      [ $(cat /tmp/nvme-bad) = 0 ] || echo "lab: not ok nvme-load $(cat /tmp/nvme-bad) failures"
      echo "lab: ok nvme-load $resets $(cat /tmp/reads) $(cat /tmp/writes) $sum"
    }

    # The e1000e driver does not handle a reset of its device. It may hang after a reset, even on bare
    # hardware. This step therefore takes the interface down, resets the card twenty times, and brings the
    # interface up again, during a download. Packets sent during the resets are lost, and TCP retransmits
    # them. Each download must complete with the right content. After the link is up again, the first ping
    # must be answered.
    downloads() {
      while [ ! -e /tmp/network-stop ]; do
        [ "$(wget -q -O - http://10.0.2.100/ | sha256sum | cut -c1-64)" = $1 ] &&
          bump /tmp/downloads || bump /tmp/network-bad
      done
    }
    has_carrier() { grep -q 1 /sys/class/net/eth0/carrier; }
    has_downloaded() { [ $(cat /tmp/downloads) -ge $1 ]; }
    network_load() {
      network
      function=$(readlink -f /sys/class/net/eth0/device)
      for name in downloads network-bad; do echo 0 >/tmp/$name; done
      echo pm >$function/reset_method || { echo "lab: not ok network-load the card has no PM reset"; return; }
      downloads $got &
      resets=0 rounds=0 answers=0
      while [ $resets -lt $wanted ]; do
        ifconfig eth0 down
        for number in $(seq 20); do echo 1 >$function/reset && resets=$((resets + 1)); done
        ifconfig eth0 up
        until_ 20 has_carrier || { echo "lab: not ok network-load no link after $resets resets"; break; }
        rounds=$((rounds + 1))
        ping -c 1 -W 5 10.0.2.2 >/dev/null && answers=$((answers + 1))
        until_ 30 has_downloaded $rounds || { echo "lab: not ok network-load no download after $resets resets"; break; }
      done
      touch /tmp/network-stop; wait
      [ $(cat /tmp/network-bad) = 0 ] || echo "lab: not ok network-load $(cat /tmp/network-bad) downloads failed"
      echo "lab: ok network-load $resets $rounds $answers $(cat /tmp/downloads)"
    }
    both_load() { wanted=$(parameter resets); nvme_load & network_load & wait; }

    """#
}
