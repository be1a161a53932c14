// SPDX-License-Identifier: Apache-2.0

/// Steps of a Linux guest that inspect its devices as lspci does.
enum GuestLook {
  static let script = #"""
    # byte FILE OFFSET: prints the byte in decimal
    byte() { dd if=$1 bs=1 skip=$2 count=1 2>/dev/null | od -An -tu1 | tr -d ' '; }
    capabilities() {
      at=$(byte $1/config 52)
      while [ $at -ge 64 ]; do printf ' %02x' $(byte $1/config $at); at=$(byte $1/config $((at + 1))); done
    }
    # Prints the address, identity and capabilities of every function except the host bridge.
    list() {
      for function in /sys/bus/pci/devices/*; do
        case $(cat $function/class) in 0x0600*) continue ;; esac
        echo "lab: ok functions ${function##*/} $(cat $function/vendor) $(cat $function/device)$(capabilities $function)"
      done
    }
    # Prints the driver of every function except the host bridge, after all modules are loaded.
    has_driver() { [ -e $1/driver ]; }
    drivers() {
      for group in nvme e1000e xhci ahci scsi; do load $group; done
      for function in /sys/bus/pci/devices/*; do
        case $(cat $function/class) in 0x0600*) continue ;; esac
        until_ 5 has_driver $function
        echo "lab: ok drivers ${function##*/} $(basename "$(readlink $function/driver || echo none)")"
      done
    }
    # Prints the serial number of every drive and the SHA-256 of its first MiB.
    nvme_read() {
      until_ 30 all_drives || { echo "lab: not ok nvme-read a drive is not ready"; return; }
      for drive in $(drives); do
        until_ 10 opens ${drive##*/}
        echo "lab: ok nvme-read" $(cat $drive/device/serial) $(head -c 1048576 /dev/${drive##*/} | sha256sum | cut -c1-64)
      done
    }
    # Prints the kind and name of every device interrupt that arrived at least once.
    interrupts() {
      grep -E 'nvme|eth|xhci|ahci' /proc/interrupts | while read -r line; do
        count=0
        for word in $line; do case $word in
          *:) ;;
          *[!0-9]*) kind=$word; break ;;
          *) count=$((count + word)) ;;
        esac; done
        [ $count = 0 ] || echo "lab: ok interrupts $kind ${line##* }"
      done
    }
    # disks COUNT: prints the controller's address and the SHA-256 of each disk
    has_disks() { [ "$(ls -d /sys/block/sd* | wc -l)" = $1 ]; }
    disks() {
      load ahci; load xhci; load scsi
      until_ 60 has_disks $1 || { echo "lab: not ok disks: $(ls -d /sys/block/sd*)"; return; }
      for disk in /sys/block/sd*; do
        until_ 10 opens ${disk##*/}
        controller=$(readlink -f $disk/device | sed 's,.*/pci0000:00/\([^/]*\)/.*,\1,')
        echo "lab: ok disk $controller $(sha256sum </dev/${disk##*/} | cut -c1-64)"
      done
    }
    rom() {
      for file in /sys/bus/pci/devices/*/rom; do
        echo 1 >${file%rom}enable; echo 1 >$file
        echo "lab: ok rom $(cat $file | wc -c) $(cat $file | sha256sum | cut -c1-64)"
        echo 0 >$file
      done
    }

    """#
}
