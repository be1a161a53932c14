// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The QEMU that is L1: software emulation, an IOMMU and one device of each kind.
///
/// `clearcpuid=cx16` keeps L1's kernel and its guests from CMPXCHG16B: QEMU 7.2's emulation of it leaves
/// garbage in the flags, NT among them, and a kernel that then executes IRET dies. About every second
/// guest did. Programs may use it: system calls and interrupts clear NT.
struct Machine {
  let workspace: Workspace
  let kernel: KernelPackage
  let initramfs: URL
  /// Whether one thread of QEMU runs all of L1's processors in turn.
  var isSingleThreaded = false

  /// The program and its arguments.
  ///
  /// - Parameters:
  ///   - console: where L1's console goes, as QEMU's `-serial` wants it.
  ///   - reports: where L1's second serial port goes, on which the runner inside reports.
  func arguments(console: String, reports: String) -> [String] {
    func slot(_ address: String) -> String { String(address.dropFirst("0000:00:".count)) }
    func drive(_ id: String, _ image: Image) -> [String] {
      ["-drive", "file=\(workspace.images.appending(path: image.name).path),if=none,id=\(id),format=raw"]
    }
    return [
      "qemu-system-x86_64",
      "-accel", "tcg,thread=\(isSingleThreaded ? "single" : "multi"),tb-size=1024",
      "-machine", "q35,kernel-irqchip=split", "-cpu", "max,+svm", "-smp", "2", "-m", "4G",
      "-bios", "qboot.rom", "-nographic", "-no-reboot", "-nodefaults",
      "-serial", console, "-serial", reports,
      "-kernel", kernel.image.path, "-initrd", initramfs.path,
      "-append", "console=ttyS0 quiet panic=1 intel_iommu=on iommu=pt clearcpuid=cx16",
      "-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on",
      "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
      "-virtfs", "local,path=\(workspace.out.path),mount_tag=out,security_model=none,multidevs=remap",
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
      "-device", "pcie-pci-bridge,id=b0,addr=\(slot(Address.bridge))",
      "-device", "edu,bus=b0,addr=1", "-netdev", "user,id=u1,restrict=on", "-device",
      "e1000,bus=b0,netdev=u1,addr=2",
    ]
  }

  /// Answers one HTTP request with the file to download: user networking connects 10.0.2.100:80 to it.
  var server: URL { workspace.lab.appending(path: "http-server") }

  func makeServer() throws {
    let file = workspace.images.appending(path: Image.download.name)
    let script = """
      #!/bin/sh
      while read -r line && [ "${#line}" -gt 1 ]; do :; done
      printf 'HTTP/1.0 200 OK\\r\\nContent-Length: \(Image.download.bytes)\\r\\n\\r\\n'
      exec cat '\(file.path)'

      """
    try Data(script.utf8).write(to: server)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: server.path)
  }
}
