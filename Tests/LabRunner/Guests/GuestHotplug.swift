// SPDX-License-Identifier: Apache-2.0

/// The steps of ``GuestInit`` for devices that arrive and leave while the guest runs.
enum GuestHotplug {
  static let script = """

      # The drives, network interfaces and USB controllers.
      arrived() { functions 0x010802; functions 0x0200; functions 0x0c0330; }
      is_there() { [ -n "$(arrived)" ]; }
      is_gone() { [ -z "$(arrived)" ]; }
      # arrivals COUNT: uses each device that arrives, and waits until it has left.
      arrivals() {
        for driver in nvme e1000e xhci; do load $driver; done
        number=0
        while [ $number -lt $1 ]; do
          number=$((number + 1))
          echo "lab: arrival $number"
          until_ 120 is_there || { echo "lab: not ok arrivals $number no device"; return; }
          case $(cat $(arrived)/class) in
          0x0108*) nvme_sha256 ;;
          0x0200*) network ;;
          *) usb ;;
          esac
          echo "lab: used $number"
          until_ 60 is_gone || { echo "lab: not ok arrivals $number the device stays"; return; }
        done
        echo "lab: ok arrivals $1"
      }
      are_there() { [ -n "$(functions 0x010802)" ] && [ -n "$(functions 0x0200)" ] && [ -n "$(functions 0x0c0330)" ]; }
      # cycles COUNT: uses a drive, a network and a USB controller that arrive together, and waits until they have left.
      cycles() {
        for driver in nvme e1000e xhci; do load $driver; done
        number=0
        while [ $number -lt $1 ]; do
          number=$((number + 1))
          echo "lab: cycle $number"
          until_ 120 are_there || { echo "lab: not ok cycles $number no devices"; return; }
          nvme_sha256; network; usb
          echo "lab: used $number"
          until_ 60 is_gone || { echo "lab: not ok cycles $number a device stays"; return; }
        done
        echo "lab: ok cycles $1"
      }
      # Prints the size of BAR 2 of a memory controller, and a word that was written to its last page.
      is_memory() { [ -n "$(functions 0x050000)" ]; }
      large_bar() {
        echo "lab: large-bar"
        until_ 60 is_memory || { echo "lab: not ok large-bar no device"; return; }
        function=$(functions 0x050000)
        echo 1 >$function/enable
        set -- $(sed -n 3p $function/resource)
        [ $(($1)) != 0 ] || { echo "lab: not ok large-bar no address"; return; }
        last=$(($2 - 4095))
        devmem $last 32 0x5A5A1234
        echo "lab: ok large-bar $(printf 0x%x $(($2 - $1 + 1))) $(devmem $last 32)"
      }

    """
}
