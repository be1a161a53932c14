// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// `demo`: runs one guest with one drive, and prints all of its output.
struct Demo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A guest reads its passed-through NVMe drive: trace, summary, checksum.")

  @Flag(help: "Use the emulated machine, even if this machine can run the guest.") var emulated = false

  func run() throws {
    let support = HostSupport.current
    if support.hasKVM, support.groups == 0, !emulated {
      printLine(
        "lab: this machine has KVM and no IOMMU; the guest's drive is another process (vfio-user). --emulated shows a drive "
          + "behind an IOMMU, in an emulated machine."
      )
      throw ExitCode(try DirectDemo(.current).run() ? 0 : 1)
    }
    print(support)
    guard let one = Case.all.first(where: { $0.name == "nvme-\(KernelName.newCloud.rawValue)" }),
      let fallback = Case.all.first(where: { $0.name == "nvme-\(KernelName.oldCloud.rawValue)" })
    else { throw LabError("demo: its case does not exist") }
    var lab = try Lab()
    let hasNew = !lab.isMissing(.newFull) && !lab.isMissing(.newCloud)
    let chosen = hasNew ? one : fallback
    try lab.run([chosen], l1: L1Kernel(hasNew ? .newFull : .oldFull))
    let directory = lab.workspace.out.appending(path: chosen.name)
    Self.show("trace", directory.appending(path: "trace.jsonl"))
    Self.show("guest", directory.appending(path: "guest.log"))
    Self.show("summary", directory.appending(path: "guest.err"))
    lab.printChecksums(directory)
    throw ExitCode(lab.report.finish())
  }

  static func show(_ title: String, _ file: URL) {
    guard let data = try? Data(contentsOf: file) else { return }  // missing if the case failed
    printLine("--- \(title) (\(file.path))")
    FileHandle.standardOutput.write(data)
  }

  /// Prints checksums of the drive: the checksum of its image, and the checksum that the guest computed.
  static func printChecksums(image: String, guest: String, bytes: Int) {
    printLine("--- SHA-256 of the drive (\(bytes >> 20) MiB)")
    printLine("host's image  \(image)")
    printLine("guest's read  \(guest)  \(guest == image ? "equal" : "DIFFERENT")")
  }

  /// The features of this machine that decide how the demo runs.
  private struct HostSupport {
    /// True if KVM can run Linux guests.
    let hasKVM: Bool
    /// The number of IOMMU groups.
    let groups: Int

    static var current: HostSupport {
      let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""  // no flags
      let flags = cpu.split(separator: "\n").first { $0.hasPrefix("flags") }?.split(separator: " ") ?? []
      let groups = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/kernel/iommu_groups")) ?? []
      let hasKVM =
        FileManager.default.isWritableFile(atPath: "/dev/kvm")
        && (flags.contains("svm") || flags.contains("vmx"))
      return HostSupport(hasKVM: hasKVM, groups: groups.count)
    }
  }

  private func print(_ support: HostSupport) {
    if support.hasKVM, support.groups > 0 {
      printLine(
        """
        lab: this machine has KVM and an IOMMU (\(support.groups) groups); Sluice runs on it directly:
          sudo .build/ship/sluice devices
          sudo .build/ship/sluice bind ADDRESS
          sudo .build/ship/sluice run --kernel VMLINUZ --initrd INITRD --append console=ttyS0 \
        --device ADDRESS --summary
        The demo itself runs in an emulated machine.
        """)
    } else {
      let lacks =
        support.hasKVM
        ? "an IOMMU" : support.groups == 0 ? "KVM with VT-x or SVM, and an IOMMU" : "KVM with VT-x or SVM"
      printLine(
        "lab: this machine lacks \(lacks). The demo runs in an emulated machine: only ratios of times have a meaning."
      )
    }
  }
}

extension Lab {
  func isMissing(_ kernel: KernelName) -> Bool { manifest.missing[kernel.rawValue] != nil }

  /// Prints the checksum of the drive's image, and the checksum that the guest computed.
  func printChecksums(_ directory: URL) {
    guard let drive = manifest.drives[Address.bigDrive],
      let data = try? Data(contentsOf: directory.appending(path: "guest.log"))  // missing if the case failed
    else { return }
    let lines = GuestLines(String(decoding: data, as: UTF8.self))
    let read = lines.values(of: "nvme-sha256").first?.last ?? "nothing"
    Demo.printChecksums(image: drive.sha256, guest: read, bytes: drive.bytes)
  }
}
