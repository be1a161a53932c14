// SPDX-License-Identifier: Apache-2.0

/// The `/init` of L1. It mounts this machine's root over 9p with a tmpfs overlay, and starts the runner.
enum HostInit {
  /// The modules that are needed to mount the root.
  static let modules = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]

  /// - Parameters:
  ///   - out: The directory that is shared read-write, at the same path in L1.
  ///   - command: The command to run after the root is mounted. L1 powers off after it.
  static func script(out: String, command: String) -> String {
    """
    #!/bin/busybox sh
    /bin/busybox --install -s /bin
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs dev /dev
    for module in $(cat /modules/root); do insmod /modules/$module || echo "lab: no $module"; done
    mkdir -p /lower /upper /new
    share=trans=virtio,version=9p2000.L,msize=1048576
    mount -t 9p -o $share,ro,cache=loose root /lower || exec sh
    mount -t tmpfs -o mode=755 tmpfs /upper
    mkdir /upper/new /upper/work
    mount -t overlay -o lowerdir=/lower,upperdir=/upper/new,workdir=/upper/work root /new || exec sh
    mount -t 9p -o $share,rw,cache=none out '/new\(out)' || exec sh
    for name in proc sys dev; do mount --move /$name /new/$name; done
    mkdir -p /new/dev/pts /new/dev/shm
    mount -t devpts devpts /new/dev/pts
    mount -t tmpfs tmpfs /new/dev/shm
    cat >/new/run/lab-start <<'END'
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
    ip link set lo up
    \(command)
    echo o >/proc/sysrq-trigger
    sleep 60
    END
    exec switch_root /new /bin/sh /run/lab-start

    """
  }
}
