// SPDX-License-Identifier: Apache-2.0

/// Steps of a Linux guest that resets a device many times while it is used.
///
/// What is read and written is compared, and every failure is counted: a step that counted one is not ok.
/// `lab.resets=N` on the kernel's command line says how many.
enum GuestLoad {
  static let script = #"""
    # bump FILE: adds one to the number in it
    bump() { echo $(($(cat $1) + 1)) >$1; }
    # The first half of the drive is read again and again; the second half is written and read back.
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
      until_ 30 all_drives || { echo "lab: not ok nvme-load the drive did not come up"; return; }
      drive=$(drives); drive=${drive##*/}
      function=$(functions 0x010802)
      until_ 10 opens $drive
      for name in reads writes nvme-bad; do echo 0 >/tmp/$name; done
      sum=$(dd if=/dev/$drive bs=64k count=128 iflag=direct 2>/dev/null | sha256sum | cut -c1-64)
      echo flr >$function/reset_method || { echo "lab: not ok nvme-load no FLR"; return; }
      nvme_reader $drive $sum & nvme_writer $drive &
      resets=0
      while [ $resets -lt $wanted ]; do
        echo 1 >$function/reset || { echo "lab: not ok nvme-load reset $resets refused"; break; }
        until_ 20 is_live ${drive%n1} || { echo "lab: not ok nvme-load dead after $resets resets"; break; }
        resets=$((resets + 1))
      done
      touch /tmp/nvme-stop; wait
      [ $(cat /tmp/nvme-bad) = 0 ] || echo "lab: not ok nvme-load $(cat /tmp/nvme-bad) wrong"
      echo "lab: ok nvme-load $resets $(cat /tmp/reads) $(cat /tmp/writes) $sum"
    }

    # The driver of e1000e takes no part in a reset: on bare hardware too it may stand still after one. So it
    # lets the card go, which is reset twenty times, and takes it back, all while a download is under way. What is
    # sent meanwhile is lost and TCP repeats it: each download must come to its end and be right. With the link up
    # again the first ping must be answered.
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
      echo pm >$function/reset_method || { echo "lab: not ok network-load no reset by power"; return; }
      downloads $got &
      resets=0 rounds=0 answers=0
      while [ $resets -lt $wanted ]; do
        ifconfig eth0 down
        for number in $(seq 20); do echo 1 >$function/reset && resets=$((resets + 1)); done
        ifconfig eth0 up
        until_ 20 has_carrier || { echo "lab: not ok network-load no link after $resets resets"; break; }
        rounds=$((rounds + 1))
        ping -c 1 -W 5 10.0.2.2 >/dev/null && answers=$((answers + 1))
        until_ 30 has_downloaded $rounds || { echo "lab: not ok network-load stuck after $resets resets"; break; }
      done
      touch /tmp/network-stop; wait
      [ $(cat /tmp/network-bad) = 0 ] || echo "lab: not ok network-load $(cat /tmp/network-bad) downloads wrong"
      echo "lab: ok network-load $resets $rounds $answers $(cat /tmp/downloads)"
    }
    both_load() { wanted=$(parameter resets); nvme_load & network_load & wait; }

    """#
}
