// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The devices of L1 that only some commands need.
enum ExtraDevices {
  case none
  /// The devices of `bench`.
  case bench
  /// The network card of `selftests`. It needs QEMU 8 or newer.
  case igb
}

/// QEMU's arguments for L1's devices: one device of each kind, at the addresses of `Address`.
struct MachineDevices {
  /// The directory of the drives' images.
  let images: URL
  /// The script that answers requests to 10.0.2.100:80.
  let server: URL

  var arguments: [String] { onRootBus + behindBridge + behindPorts }

  private var onRootBus: [String] {
    [
      "-device", "edu,addr=\(slot(Address.edu)),dma_mask=0xffffffffffffffff",
    ] + drive("n0", .bigDrive) + [
      "-device", "nvme,drive=n0,serial=lab-big,addr=\(slot(Address.bigDrive))",
      "-netdev", "user,id=u0,restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:\(server.path)",
      "-device", "e1000e,netdev=u0,addr=\(slot(Address.network))",
      "-device", "pci-testdev,membar=8M,addr=\(slot(Address.testDevice))",
      "-object", "memory-backend-memfd,id=m0,size=256M,share=on",
      "-device", "ivshmem-plain,memdev=m0,addr=\(slot(Address.sharedMemory))",
    ] + drive("n1", .smallDrive) + [
      "-device", "nvme,drive=n1,serial=lab-small,addr=\(slot(Address.smallDrive))",
      "-device", "qemu-xhci,id=x0,addr=\(slot(Address.usb))",
    ] + drive("s0", .stick) + [
      "-device", "usb-storage,bus=x0.0,drive=s0",
      "-device", "nec-usb-xhci,id=x1,msi=on,msix=off,addr=\(slot(Address.messageUSB))",
    ] + drive("s1", .messageStick) + [
      "-device", "usb-storage,bus=x1.0,drive=s1",
      "-device", "ich9-ahci,id=a0,addr=\(slot(Address.disk))",
    ] + drive("d0", .disk) + [
      "-device", "ide-hd,bus=a0.0,drive=d0",
      // Behind a port, the BARs begin at a page boundary. The kernel then allows the mapping of a BAR that is
      // smaller than a page.
      "-device", "pcie-root-port,id=p4,chassis=5,addr=04", "-device", "lsi53c895a,id=l0,bus=p4",
    ] + drive("d1", .scsiDisk) + [
      "-device", "scsi-hd,bus=l0.0,drive=d1",
    ] + drive("n3", .scratchDrive) + [
      "-device", "nvme,drive=n3,serial=lab-scratch,addr=\(slot(Address.scratchDrive))",
    ] + memory("large", "16G", Address.largeMemory)
  }

  private var behindBridge: [String] {
    [
      "-device", "pcie-pci-bridge,id=b0,addr=\(slot(Address.bridge))",
      "-device", "edu,bus=b0,addr=1", "-netdev", "user,id=u1,restrict=on", "-device",
      "e1000,bus=b0,netdev=u1,addr=2",
    ]
  }

  /// The firmware numbers the buses from the last PCI slot. Bus 1 is behind the last port.
  private var behindPorts: [String] {
    let ports = Address.ports.enumerated().flatMap { index, address in
      ["-device", "pcie-root-port,id=p\(index),chassis=\(index + 1),addr=\(slot(address))"]
    }
    return ports + drive("n2", .virtualDrive) + [
      "-device", "nvme-subsys,id=subsystem", "-device",
      "nvme,id=pf,subsys=subsystem,bus=p0,serial=lab-virtual,max_ioqpairs=6,msix_qsize=7,"
        + "sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=4",
      "-device", "nvme-ns,bus=pf,drive=n2,nsid=1",
      "-device", "edu,bus=p1,addr=0.0,multifunction=on,dma_mask=0xffffffffffffffff",
      "-object", "memory-backend-memfd,id=m1,size=16M,share=on",
      "-device", "ivshmem-plain,memdev=m1,bus=p1,addr=0.1",
      "-netdev", "user,id=u2,restrict=on", "-device", "e1000e,id=e2,netdev=u2,bus=p2",
      "-device", Self.plug,
      // The bus of the first slot gets the last number, so that the other buses keep theirs.
      "-device", "pcie-root-port,id=p5,chassis=6,addr=\(slot(Address.hotPort))",
    ]
  }

  /// The device that can be unplugged and plugged in again.
  static let plug = "edu,id=plug,bus=p3,dma_mask=0xffffffffffffffff"

  /// The 16 edu functions that only `bench` has, two in each PCI slot. They are cheap to emulate.
  static let benchEdus = (0x14...0x1B).flatMap { slot in
    (0...1).map { "0000:00:\(String(slot, radix: 16)).\($0)" }
  }
  /// The function with a small BAR, which only `bench` has.
  static let benchSmallBAR = "0000:00:1c.0"
  /// A drive whose MSI-X table has a separate BAR. kvmtool replaces the whole BAR that holds the table.
  static let benchDrive = "0000:00:1e.0"

  /// Returns the arguments for devices that only some commands need.
  func arguments(_ extra: ExtraDevices) -> [String] {
    switch extra {
    case .none: hotDevices
    case .bench: hotDevices + benchDevices
    case .igb: ["-netdev", "user,id=u3,restrict=on", "-device", "igb,netdev=u3,bus=p5"]
    }
  }

  /// Intel's 82576, which only `selftests` has. It has the place of the drive that can be unplugged.
  static let igb = Address.hotDrive

  /// The drive that can be unplugged and plugged in again. QEMU keeps the image.
  static let hotDrive = "nvme,id=hot,drive=n5,serial=\(hotSerial),bus=p5"
  static let hotSerial = "lab-hot"

  private var hotDevices: [String] {
    let file = images.appending(path: Image.hotDrive.name).path
    return [
      "-blockdev", "driver=raw,node-name=n5,file.driver=file,file.filename=\(file)", "-device", Self.hotDrive,
    ]
  }

  /// A device with a BAR of a size, which costs only addresses.
  private func memory(_ name: String, _ size: String, _ address: String) -> [String] {
    [
      "-object", "memory-backend-memfd,id=\(name),size=\(size),share=on",
      "-device", "ivshmem-plain,memdev=\(name),addr=\(slot(address))",
    ]
  }

  private var benchDevices: [String] {
    Self.benchEdus.flatMap { ["-device", "edu,addr=\(slot($0)),multifunction=on"] }
      + memory("small", "1M", Self.benchSmallBAR) + drive("n4", .benchDrive) + [
        "-device", "nvme,drive=n4,serial=lab-bench,msix-exclusive-bar=on,addr=\(slot(Self.benchDrive))",
      ]
  }

  private func slot(_ address: String) -> String { String(address.dropFirst("0000:00:".count)) }

  private func drive(_ id: String, _ image: Image) -> [String] {
    let file = images.appending(path: image.name).path
    return ["-drive", "file=\(file),if=none,id=\(id),format=raw"]
  }
}
