// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The QEMU that emulates L1 in software, with an IOMMU. `MachineDevices` has the devices.
///
/// `clearcpuid=cx16` prevents the use of CMPXCHG16B by L1's kernel and its guests. QEMU 7.2's emulation of
/// this instruction leaves garbage in the flags, including NT. A kernel that then executes IRET crashes.
/// About every second guest crashed. Programs may use the instruction, because system calls and interrupts
/// clear NT.
///
/// L1 has no XSAVE and no AVX. QEMU's SVM does not intercept XSETBV, so that KVM does not see a guest's XCR0.
/// Each Linux guest then warns of an XSAVE consistency problem, and loses its extended state at exits.
struct Machine {
  let workspace: Workspace
  /// QEMU's program and its first arguments.
  let emulator: [String]

  /// The version of QEMU, such as `7.2.22`.
  func emulatorVersion() throws -> String {
    let text = try Command.output(emulator + ["--version"])
    return text.split(separator: " ").first { $0.first?.isNumber ?? false }.map {
      String($0.prefix { !$0.isWhitespace })
    }
      ?? "unknown"
  }

  let kernel: KernelPackage
  let initramfs: URL
  var emulation = Emulation.parallel
  /// The devices that only some commands need.
  var extra = ExtraDevices.none

  private static let processor =
    "max,+svm,-xsave,-avx,-avx2,-vpclmulqdq,-vaes,-fma,-f16c,-mpx,-pku"

  /// The program and its arguments.
  ///
  /// - Parameters:
  ///   - console: The target of L1's console, as an argument of QEMU's `-serial`.
  ///   - reports: The target of L1's second serial port, on which the runner inside reports.
  func arguments(console: String, reports: String) -> [String] {
    func slot(_ address: String) -> String { String(address.dropFirst("0000:00:".count)) }
    func drive(_ id: String, _ image: Image) -> [String] {
      ["-drive", "file=\(workspace.images.appending(path: image.name).path),if=none,id=\(id),format=raw"]
    }
    let devices = MachineDevices(images: workspace.images, server: server)
    return emulator + emulation.arguments + [
      "-machine", "q35,kernel-irqchip=split", "-cpu", Self.processor, "-m", "4G",
      "-bios", "qboot.rom", "-nographic", "-no-reboot", "-nodefaults",
      "-serial", console, "-serial", reports,
      "-kernel", kernel.image.path, "-initrd", initramfs.path,
      "-append",
      "console=ttyS0 quiet panic=1 intel_iommu=on iommu=pt clearcpuid=cx16"
        // Two small BARs never share a page, of which VFIO maps neither.
        + " pci=resource_alignment=12@pci:1af4:1110"
        // The driver shpchp of the PCI bridge makes the group behind it non-viable.
        + " initcall_blacklist=shpcd_init",
      // Linux in L1 then drives the slots itself (pciehp), and a slot's power can be switched off.
      "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
      "-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on",
      "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
      "-virtfs", "local,path=\(workspace.out.path),mount_tag=out,security_model=none,multidevs=remap",
    ] + monitor + devices.arguments + devices.arguments(extra)
  }

  /// QEMU's monitor on L1's third serial port. A device that it unplugs is gone without a reply.
  private var monitor: [String] {
    let path = workspace.lab.appending(path: "monitor").path
    return [
      "-chardev", "socket,id=monitor,path=\(path),server=on,wait=off", "-mon", "chardev=monitor",
      "-chardev", "socket,id=line,path=\(path)",
      "-device", "isa-serial,index=2,iobase=0x3e8,irq=7,chardev=line",
    ]
  }

  /// The script that answers one HTTP request with the file to download. QEMU's user networking connects
  /// 10.0.2.100:80 to it.
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
