// SPDX-License-Identifier: Apache-2.0

/// Steps of a Linux guest whose devices are behind ports.
enum GuestPorts {
  static let script = #"""
    # The slots with a function. A slot has the number of its port's device.
    occupied() { for slot in /sys/bus/pci/slots/*; do [ "$(cat $slot/adapter)" = 1 ] && echo $slot; done; }
    port_facts() {
      for slot in /sys/bus/pci/slots/*; do
        echo "lab: slot ${slot##*/} $(cat $slot/address) power $(cat $slot/power) adapter $(cat $slot/adapter)"
      done
      dmesg | sed -n 's/.*_OSC: OS now controls \(.*\)/lab: osc \1/p'
    }
    slots_off() {
      for slot in $(occupied); do
        echo 0 >$slot/power
        [ "$(cat $slot/power)" = 0 ] && echo "lab: ok slot-off ${slot##*/}" || echo "lab: not ok slot-off ${slot##*/}"
      done
      [ -z "$(functions 0x010802)" ] && echo "lab: ok slots-off" || echo "lab: not ok slots-off a drive is present"
    }
    no_drive() { [ -z "$(functions 0x010802)" ]; }
    leave() {
      echo "lab: leave"
      until_ 60 no_drive && echo "lab: ok leave" || echo "lab: not ok leave a drive is present"
    }
    recovered() { [ "$(dmesg | grep -c 'device recovery successful')" -ge $1 ]; }
    # recover COUNT: after each error, the driver recovers the network.
    recover() {
      number=0
      while [ $number -lt $1 ]; do
        number=$((number + 1))
        echo "lab: recover $number"
        until_ 60 recovered $number || { echo "lab: not ok recover $number no recovery"; return; }
        until_ 30 grep -q 1 /sys/class/net/eth0/carrier || { echo "lab: not ok recover $number no carrier"; return; }
        ping -c 2 -W 5 10.0.2.2 >/dev/null || { echo "lab: not ok recover $number no reply"; return; }
      done
      echo "lab: ok recover $1"
    }
    # errors COUNT: after each error, the drive can be read.
    errors() {
      drive=$(drives); number=0
      while [ $number -lt $1 ]; do
        number=$((number + 1))
        echo "lab: error $number"
        until_ 60 recovered $number || { echo "lab: not ok errors $number no recovery"; return; }
        until_ 30 dd if=/dev/${drive##*/} of=/dev/null bs=64k count=1 iflag=direct ||
          { echo "lab: not ok errors $number the drive cannot be read"; return; }
      done
      echo "lab: ok errors $1"
    }
    failed() { [ "$(dmesg | grep -c 'device recovery failed')" -ge $1 ]; }
    # Prints if the stick can be read after an error of its controller.
    stick_state() {
      echo 3 >/proc/sys/vm/drop_caches
      dd if=/dev/sda of=/dev/null bs=64k count=1 2>/dev/null & reader=$!
      until_ 60 ended $reader || { echo "lab: not ok failure $1 a reader hangs"; return; }
      wait $reader && echo "lab: ok failure $1 kept" || echo "lab: ok failure $1 lost"
    }
    ended() { ! kill -0 $1; }
    # failures: errors of a USB controller, without a handler in its driver. After each, a drive is read.
    failures() {
      number=0
      for severity in non-fatal fatal; do
        number=$((number + 1))
        echo "lab: failure $severity"
        until_ 60 failed $number || { echo "lab: not ok failure $severity no report"; return; }
        stick_state $severity
        nvme_sha256
      done
    }
    no_usb() { [ -z "$(functions 0x0c0330)" ]; }
    a_usb() { ! no_usb; }
    # leave-usb: the controller leaves and returns.
    leave_usb() {
      echo "lab: leave-usb"
      until_ 60 no_usb || { echo "lab: not ok leave-usb a controller is present"; return; }
      until_ 60 a_usb || { echo "lab: not ok leave-usb no controller"; return; }
      usb
    }
    bus_reset() {
      echo bus >$1/reset_method && reset $1
    }
    # Prints the node of the only drive when it can be opened.
    ready_drive() {
      load nvme
      until_ 30 all_drives || return 1
      drive=$(drives); drive=/dev/${drive##*/}
      until_ 10 opens ${drive#/dev/}
    }
    # Writes sixteen files in turn, each with a file of its sum.
    ext4_writer() {
      number=0
      while [ ! -e /tmp/ext4-stop ]; do
        file=file$((number % 16)); number=$((number + 1))
        dd if=/dev/urandom of=/mnt/$file bs=16k count=$((number % 9 + 1)) conv=fsync 2>/dev/null &&
          (cd /mnt && sha256sum $file >$file.sum) || { echo "lab: not ok ext4-write $file"; return; }
      done
      echo "lab: ok ext4-write $number"
    }
    # ext4 unmount|keep: writes to the drive's file system until the console has a line. Then it unmounts the file system,
    # or only flushes the file system to the drive.
    ext4() {
      load ext4
      ready_drive || { echo "lab: not ok ext4-$1 no drive"; return; }
      mkdir /mnt
      mount -t ext4 $drive /mnt || { echo "lab: not ok ext4-$1 not mounted"; return; }
      ext4_writer & writer=$!
      echo "lab: ext4 mounted"
      read -r line
      touch /tmp/ext4-stop; wait $writer
      case $1 in
      unmount) umount /mnt && echo "lab: ext4 idle" || echo "lab: not ok ext4-unmount" ;;
      keep) sync; echo "lab: ext4 idle" ;;
      esac
      until_ 60 no_drive && echo "lab: ok ext4-$1" || echo "lab: not ok ext4-$1 a drive is present"
    }
    # Prints the guest's time in hundredths of a second.
    clock() { read -r now rest </proc/uptime; echo ${now%.*}${now#*.}; }
    # The time of the last block that the drive has accepted is in /tmp/last, and the time of the first error in /tmp/first.
    direct_writer() {
      place=0
      while dd if=/dev/zero of=$drive bs=64k count=1 seek=$place oflag=direct conv=notrunc 2>/dev/null; do
        clock >/tmp/last
        place=$(((place + 1) % 64))
      done
      clock >/tmp/first
    }
    # The slots without a function whose power is on.
    powered() { for slot in /sys/bus/pci/slots/*; do [ "$(cat $slot/adapter)$(cat $slot/power)" = 01 ] && echo $slot; done; }
    surprise() {
      echo 5 >/proc/sys/kernel/hung_task_timeout_secs
      ready_drive || { echo "lab: not ok surprise no drive"; return; }
      direct_writer & writer=$!
      until_ 10 test -e /tmp/last
      echo "lab: surprise"
      until_ 60 test -e /tmp/first || { echo "lab: not ok surprise the writer has no error"; return; }
      until_ 10 no_drive || { echo "lab: not ok surprise the drive is present"; return; }
      wait $writer
      echo "lab: ok notice $(($(cat /tmp/first) - $(cat /tmp/last)))"
      # The kernel looks for hung tasks in this interval.
      sleep 11
      dmesg | grep 'blocked for more than' | sed 's/^/lab: not ok surprise /'
      [ -z "$(occupied)" ] || echo "lab: not ok surprise a slot is occupied"
      [ -z "$(powered)" ] || echo "lab: not ok surprise the power of an empty slot is on"
      echo "lab: ok surprise"
    }

    """#
}
