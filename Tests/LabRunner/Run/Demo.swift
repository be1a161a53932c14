// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// `demo`: runs one guest with one drive, and prints all of its output.
struct Demo: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A guest reads its passed-through NVMe drive: trace, summary, checksum.")

  func run() throws {
    printHostSupport()
    guard let one = Case.all.first(where: { $0.name == "nvme-\(KernelName.newCloud.rawValue)" }),
      let fallback = Case.all.first(where: { $0.name == "nvme-\(KernelName.oldCloud.rawValue)" })
    else { throw LabError("demo: its case does not exist") }
    var lab = try Lab()
    let hasNew = !lab.isMissing(.newFull) && !lab.isMissing(.newCloud)
    let chosen = hasNew ? one : fallback
    try lab.run([chosen], l1: L1Kernel(hasNew ? .newFull : .oldFull))
    let directory = lab.workspace.out.appending(path: chosen.name)
    show("trace", directory.appending(path: "trace.jsonl"))
    show("guest", directory.appending(path: "guest.log"))
    show("summary", directory.appending(path: "guest.err"))
    lab.printChecksums(directory)
    throw ExitCode(lab.report.finish())
  }

  private func show(_ title: String, _ file: URL) {
    guard let data = try? Data(contentsOf: file) else { return }  // missing if the case failed
    printLine("--- \(title) (\(file.path))")
    FileHandle.standardOutput.write(data)
  }

  private func printHostSupport() {
    let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""  // no flags
    let flags = cpu.split(separator: "\n").first { $0.hasPrefix("flags") }?.split(separator: " ") ?? []
    let groups = (try? FileManager.default.contentsOfDirectory(atPath: "/sys/kernel/iommu_groups")) ?? []
    let hasKVM =
      FileManager.default.isWritableFile(atPath: "/dev/kvm")
      && (flags.contains("svm") || flags.contains("vmx"))
    if hasKVM, !groups.isEmpty {
      printLine(
        """
        lab: this machine has KVM and an IOMMU (\(groups.count) groups); Sluice runs on it directly:
          sudo .build/ship/sluice devices
          sudo .build/ship/sluice bind ADDRESS
          sudo .build/ship/sluice run --kernel VMLINUZ --initrd INITRD --append console=ttyS0 \
        --device ADDRESS --summary
        The demo itself runs in an emulated machine.
        """)
    } else {
      let lacks =
        hasKVM ? "an IOMMU" : groups.isEmpty ? "KVM with VT-x or SVM, and an IOMMU" : "KVM with VT-x or SVM"
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
    printLine("--- SHA-256 of the drive (\(drive.bytes >> 20) MiB)")
    printLine("host's image  \(drive.sha256)")
    printLine("guest's read  \(read)  \(read == drive.sha256 ? "equal" : "DIFFERENT")")
  }
}
