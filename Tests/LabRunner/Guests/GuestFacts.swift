// SPDX-License-Identifier: Apache-2.0

/// The steps `facts` and `facts-after` of the Linux guests. They print the kernel's information about the
/// function in PCI slot 1.
enum GuestFacts {
  /// The programs of this machine that the steps need.
  static let programs = ["/usr/bin/lspci", "/sbin/ethtool", "/usr/sbin/nvme"]

  static let script = """
    # The first function that is not a bridge. It is in slot 1 if the bus has a host bridge.
    slot=$(grep -Lr '^0x06' /sys/bus/pci/devices/*/class 2>/dev/null | head -n 1 | sed 's,/class$,,;s,.*/,,')
    raw() { name=$1; shift; "$@" 2>&1 | tr -s ' \\t' ' ' | sed "s/^/lab: raw $name /"; }
    facts() {
      raw function /usr/bin/lspci -n
      raw lspci /usr/bin/lspci -s $slot -vvvnnxxxx
      raw iomem grep -A9 PCI /proc/iomem
      raw ioports grep -A9 PCI /proc/ioports
      raw interrupts grep -E 'PCI|IO-APIC' /proc/interrupts
    }
    # The first root port.
    port_lspci() { raw lspci sh -c '/usr/bin/lspci -s 00:01.0 -vvv 2>/dev/null'; }
    facts_after() {
      raw interrupts-after grep -E 'PCI|IO-APIC' /proc/interrupts
      raw driver sh -c 'basename "$(readlink /sys/bus/pci/devices/'$slot'/driver)"'
      [ ! -e /sys/class/net/eth0 ] || raw ethtool ethtool -d eth0
      if [ -e /dev/nvme0 ]; then
        raw identify nvme id-ctrl /dev/nvme0
        raw smart nvme smart-log /dev/nvme0
      fi
      dmesg | grep -iE 'pci|vfio|ACPI: .*error|nvme' >/tmp/dmesg
      raw dmesg cat /tmp/dmesg
    }
    """
}
