// SPDX-License-Identifier: Apache-2.0

/// The `/init` of the Linux guests. It performs the steps named on the kernel command line.
///
/// Every line that the runner reads starts with `lab: `. A step prints `lab: ok STEP …` or
/// `lab: not ok STEP …`. The script prints `lab: end` after the last step, before the guest shuts down.
enum GuestInit {
  /// The kernel modules of each group. A kernel that has a group built in has an empty list for it.
  static let modules = [
    "nvme": ["nvme"],
    "e1000e": ["e1000e"],
    "xhci": ["xhci_pci", "usb-storage", "sd_mod"],
    "ahci": ["ahci", "sd_mod"],
    "scsi": ["sym53c8xx", "sd_mod"],
    "pvpanic": ["pvpanic-mmio"],
    "button": ["button", "evdev"],
    // ext4 finds the checksum by its name in the kernel.
    "ext4": ["crc32c_generic", "ext4"],
  ]

  static let script = """
    #!/bin/busybox sh
    /bin/busybox --install -s /bin
    export PATH=/bin:/sbin:/usr/bin:/usr/sbin
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs dev /dev
    echo "lab: init $(uname -r) cpus $(nproc)"

    parameter() { sed -n "s/.*lab\\.$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }
    load() { for module in $(cat /modules/$1); do insmod /modules/$module 2>/dev/null; done; }
    # until_ SECONDS COMMAND…: retries the command until it succeeds; fails after the given seconds
    until_() { left=$(($1 * 10)); shift
      until "$@" >/dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return 1; usleep 100000; done; }
    # The device node exists before the disk can be opened.
    opens() { dd if=/dev/$1 of=/dev/null bs=512 count=1; }
    functions() { grep -l "^$1" /sys/bus/pci/devices/*/class | sed 's,/class$,,'; }
    # Prints the drives, without the paths (nvme0c0n1) to a drive in a subsystem.
    drives() { ls -d /sys/block/nvme*n1 2>/dev/null | grep -v 'c[0-9]*n1$'; }
    all_drives() { [ "$(drives | wc -l)" = "$(functions 0x010802 | wc -l)" ]; }

    nvme_sha256() {
      load nvme
      [ -n "$(functions 0x010802)" ] || { echo "lab: not ok nvme-sha256 no drive on the bus"; return; }
      until_ 30 all_drives || { echo "lab: not ok nvme-sha256 a drive is not ready"; return; }
      for drive in $(drives); do
        until_ 10 opens ${drive##*/}
        serial=$(cat $drive/device/serial)
        echo 3 >/proc/sys/vm/drop_caches
        echo "lab: ok nvme-sha256" $serial $(dd if=/dev/${drive##*/} bs=1M 2>/dev/null | sha256sum | cut -c1-64)
      done
    }
    each_nvme() { for function in $(functions 0x010802); do "$1" "$function"; done; }
    rebind() {
      echo ${1##*/} >/sys/bus/pci/drivers/nvme/unbind
      [ ! -e $1/driver ] && echo ${1##*/} >/sys/bus/pci/drivers/nvme/bind && [ -e $1/driver ] &&
        echo "lab: ok nvme-rebind" || echo "lab: not ok nvme-rebind"
    }
    reset() { echo 1 >$1/reset && echo "lab: ok nvme-reset" || echo "lab: not ok nvme-reset"; }
    remove() {
      echo 1 >$1/remove
      [ ! -e $1 ] || { echo "lab: not ok nvme-remove-rescan still present"; return; }
      echo 1 >/sys/bus/pci/rescan
      [ -e $1 ] && echo "lab: ok nvme-remove-rescan" || echo "lab: not ok nvme-remove-rescan did not reappear"
    }
    kexec_() {
      rest=$1
      line=$(sed "s/lab\\.steps=[^ ]*/lab.steps=$rest/" /proc/cmdline)
      /sbin/kexec -s -l /second/vmlinuz --initrd=/second/initrd --append="$line lab.kexec=1" ||
        { echo "lab: not ok kexec the second kernel cannot be loaded"; return; }
      echo "lab: ok kexec"
      /sbin/kexec -e
      echo "lab: not ok kexec the command returned"
    }
    ping_() {
      load e1000e
      until_ 10 test -e /sys/class/net/eth0 || { echo "lab: not ok network no eth0"; return 1; }
      ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
      until_ 20 grep -q 1 /sys/class/net/eth0/carrier || { echo "lab: not ok network no carrier"; return 1; }
      ping -c 3 -W 5 10.0.2.2 >/dev/null && echo "lab: ok ping" || echo "lab: not ok ping"
    }
    network() {
      ping_ || return
      got=$(wget -q -O - http://10.0.2.100/ | sha256sum | cut -c1-64)
      echo "lab: ok download $got"
    }
    random_reads() {
      load nvme
      until_ 30 all_drives || { echo "lab: not ok random-read no drive"; return; }
      drive=$(drives); drive=/dev/${drive##*/}
      until_ 10 opens ${drive#/dev/}
      for depth in 1 32; do
        # The eighth value of fio's terse output, version 3, is the number of reads per second.
        number=$(fio --name=read --filename=$drive --readonly --rw=randread --bs=4k --direct=1 \
          --ioengine=libaio --iodepth=$depth --ramp_time=1 --time_based --runtime=6 \
          --minimal --terse-version=3 | cut -d';' -f8)
        case $number in
        [1-9]*) echo "lab: ok random-read $depth $number" ;;
        *) echo "lab: not ok random-read $depth" ;;
        esac
      done
    }
    # One job writes for each processor. Each block is read again and compared.
    verified_writes() {
      load nvme
      until_ 30 all_drives || { echo "lab: not ok fio-verify no drive"; return; }
      drive=$(drives); drive=/dev/${drive##*/}
      until_ 10 opens ${drive#/dev/}
      jobs=$(nproc)
      # The values 5, 6 and 47 of fio's terse output, version 3, are the error, and the KiB read and written.
      numbers=$(fio --name=verify --filename=$drive --rw=randwrite --bsrange=4k-64k --direct=1 --ioengine=libaio \
        --iodepth=8 --numjobs=$jobs --size=$((32 / jobs))m --offset_increment=$((32 / jobs))m --verify=crc32c \
        --verify_backlog=64 --verify_fatal=1 --time_based --runtime=$1 --group_reporting --minimal --terse-version=3 \
        | awk -F';' '$5 == 0 && $6 > 0 && $47 > 0 { print $6, $47 }')
      case $numbers in
      [1-9]*) echo "lab: ok fio-verify $numbers" ;;
      *) echo "lab: not ok fio-verify" ;;
      esac
    }
    # The file with the events of the power button.
    button_() { for one in /sys/class/input/event*; do
      if grep -q "Power Button" $one/device/name 2>/dev/null; then echo /dev/input/${one##*/}; return; fi; done; return 1; }
    button() {
      load button
      until_ 20 button_ || { echo "lab: not ok button no power button"; return; }
      # The file keeps the events from its opening on.
      exec 3<"$(button_)"
      echo "lab: button ready"
      dd of=/dev/null bs=24 count=1 <&3 2>/dev/null && echo "lab: ok button"
    }
    usb() {
      load xhci
      until_ 60 opens sda || { echo "lab: not ok usb-sha256 /dev/sda cannot be opened"; return; }
      echo "lab: ok usb-sha256 $(sha256sum </dev/sda | cut -c1-64)"
    }


    """ + GuestLoad.script + GuestPorts.script + GuestLook.script + GuestFacts.script + GuestHotplug.script
      + """

      steps=$(parameter steps)
      # The README's recipe has no lab.steps.
      [ -n "$steps" ] || case $(cat /proc/cmdline) in *root=/dev/nvme*) steps=nvme-sha256 ;; esac
      while [ -n "$steps" ]; do
        step=${steps%%,*}
        case $steps in *,*) steps=${steps#*,} ;; *) steps= ;; esac
        case $step in
        nvme-sha256) nvme_sha256 ;;
        nvme-rebind) load nvme; each_nvme rebind ;;
        nvme-reset) each_nvme reset ;;
        nvme-remove-rescan) each_nvme remove ;;
        nvme-bus-reset) each_nvme bus_reset ;;
        ports) port_facts ;;
        leave) leave ;;
        cycles-*) cycles ${step#cycles-} ;;
        arrivals-*) arrivals ${step#arrivals-} ;;
        large-bar) large_bar ;;
        errors-*) errors ${step#errors-} ;;
        failures) failures ;;
        leave-usb) leave_usb ;;
        recover-*) recover ${step#recover-} ;;
        slots-off) slots_off ;;
        ext4-*) ext4 ${step#ext4-} ;;
        surprise) surprise ;;
        kexec) kexec_ "$steps" ;;
        network) network ;;
        ping) ping_ ;;
        usb-sha256) usb ;;
        load) both_load ;;
        nvme-load) wanted=$(parameter resets); nvme_load ;;
        random-read) random_reads ;;
        fio-verify-*) verified_writes ${step#fio-verify-} ;;
        wait) sleep 2 ;;
        wait-*) sleep ${step#wait-} ;;
        button) button ;;
        idle) echo "lab: idle"; sleep 1000 ;;
        disks-*) disks ${step#disks-} ;;
        interrupts) interrupts ;;
        facts) facts ;;
        facts-after) facts_after ;;
        port-lspci) port_lspci ;;
        functions) list ;;
        drivers) drivers ;;
        nvme-read) nvme_read ;;
        rom) rom ;;
        shell) echo "lab: shell"; setsid sh -c 'exec sh -i </dev/ttyS0 >/dev/ttyS0 2>&1' ;;
        reboot) echo "lab: end"; reboot -f ;;
        panic) load pvpanic
          [ -e /sys/bus/acpi/devices/QEMU0001:00 ] || echo "lab: no QEMU0001"
          echo "lab: end"; echo c >/proc/sysrq-trigger ;;
        *) echo "lab: not ok unknown step $step" ;;
        esac
      done
      echo "lab: end"
      poweroff -f

      """
}
