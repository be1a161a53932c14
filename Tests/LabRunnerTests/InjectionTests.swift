// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LabRunner

@Suite struct InjectionTests {
  private static let table = """
    # a comment
    vcpu ioctl:VFIO_DEVICE_SET_IRQS ENOSPC warn drivers/pci/msi/msi.c __pci_enable_msix_range
    vcpu pread64 EIO bus drivers/vfio/pci/vfio_pci_rdwr.c: the memory is disabled
    * exit - - does not return
    """

  private static let seccomp = """
    vcpu:
      ioctl VFIO_DEVICE_SET_IRQS 0x3b6e  # turn vectors on
      pread64  # trapped reads
      exit (contingent)  # the end
    pin:
      exit  # the end
      poll  # wait
    """

  @Test("a row has a thread, a call with its request, an error, a rule and a source")
  func rows() throws {
    let table = try InjectionTable(Self.table)
    #expect(table.rows.count == 3)
    #expect(
      table.failing(in: InjectionTable.calls(Self.seccomp)).map(\.name)
        == Array(table.rows.map(\.name).prefix(2)))
    #expect(table.rows[0].name == "vcpu VFIO_DEVICE_SET_IRQS")
    #expect(table.rows[0].error == "ENOSPC" && table.rows[0].rule == .warn)
    #expect(table.rows[1].source == "drivers/vfio/pci/vfio_pci_rdwr.c: the memory is disabled")
  }

  @Test(
    "rejects an invalid row", arguments: ["vcpu", "vcpu poll EWRONG bus why", "vcpu poll EIO often why"])
  func bad(_ line: String) {
    #expect(throws: LabError.self) { try InjectionTable(line) }
  }

  @Test("finds a row of the seccomp table without an injection")
  func missing() throws {
    let table = try InjectionTable(Self.table)
    #expect(table.missing(from: Self.seccomp) == ["pin poll"])
    #expect(InjectionTable.calls(Self.seccomp)[0].number == "0x3b6e")
  }

  @Test("injects no error into a call that the seccomp table does not have")
  func otherInterface() throws {
    let table = try InjectionTable(
      Self.table + "\nvcpu ioctl:IOMMU_IOAS_MAP EFAULT warn drivers/iommu/iommufd/pages.c")
    #expect(table.rows.count == 4 && table.failing(in: InjectionTable.calls(Self.seccomp)).count == 2)
  }

  @Test("a call of a device in another process runs with such a device")
  func servers() throws {
    let table = try InjectionTable(
      "reader poll EINTR none a\nvcpu sendmsg EPIPE warn b\nvcpu poll EINTR warn c")
    #expect(table.rows.map(\.needsServer) == [true, true, false])
    let traces = Injection.Traces(
      status: 1, output: "",
      errors: "sluice: device vfio-user:s: the other process has closed the connection\n")
    #expect(
      Injection(row: table.rows[1], isFirst: true).judge(traces)
        == .ended("sluice: device vfio-user:s: the other process has closed the connection"))
    let signal = Injection(row: table.rows[0], isFirst: true)
    #expect(signal.judge(Injection.Traces(status: 1, output: Self.good, errors: "")) == .unharmed)
    let warning = "sluice: warning: device vfio-user:s: poll: Interrupted system call\n"
    guard case .wrong = signal.judge(Injection.Traces(status: 3, output: Self.bad, errors: warning)) else {
      Issue.record("an effect was accepted")
      return
    }
  }

  @Test("the parts contain each injection once, in the same order for the same seed")
  func parts() throws {
    let table = try InjectionTable(Self.table)
    let calls = InjectionTable.calls(Self.seccomp)
    let names = (1...3).flatMap { part in
      Injections(seed: 7, part: part, parts: 3).chosen(table, calls: calls).map {
        "\($0.row.name) \($0.isFirst)"
      }
    }
    #expect(Set(names).count == 4 && names.count == 4)
    let again = Injections(seed: 7, part: 1, parts: 3).chosen(table, calls: calls).map {
      "\($0.row.name) \($0.isFirst)"
    }
    #expect(again == Array(names.prefix(again.count)))
  }

  private static let good = "ok - one\ndone 1\n"
  private static let bad = "not ok - NVMe's interrupt arrives\ndone 1\n"
  private static let warning = "sluice: warning: device 0000:00:05.0: vector 0: No space left on device\n"
  private static let failure = "sluice: device 0000:00:05.0: VFIO_DEVICE_SET_IRQS: No space left on device\n"

  private static func outcome(_ row: Int, _ status: Int32, _ output: String, _ errors: String) throws
    -> Injection.Outcome
  {
    let table = try InjectionTable(Self.table)
    return Injection(row: table.rows[row], isFirst: true)
      .judge(Injection.Traces(status: status, output: output, errors: errors))
  }

  @Test("accepts a VM that continues, with a warning if the guest fails, or that ends with device and cause")
  func allowed() throws {
    #expect(try Self.outcome(0, 1, Self.good, "") == .unharmed)
    #expect(try Self.outcome(0, 3, Self.bad, Self.warning) == .degraded(String(Self.warning.dropLast())))
    #expect(try Self.outcome(0, 1, "", Self.failure) == .ended(String(Self.failure.dropLast())))
    #expect(try Self.outcome(1, 3, Self.bad, "") == .degraded("not ok: NVMe's interrupt arrives"))
  }

  @Test("rejects a signal, a silent failure, and an end without device or cause")
  func forbidden() throws {
    func isWrong(_ outcome: Injection.Outcome) -> Bool { if case .wrong = outcome { true } else { false } }
    #expect(try isWrong(Self.outcome(0, 159, Self.good, "")))
    #expect(try isWrong(Self.outcome(0, 3, Self.bad, "")))
    #expect(try isWrong(Self.outcome(0, 1, "", "sluice: VFIO_DEVICE_SET_IRQS: No space left on device\n")))
    #expect(try isWrong(Self.outcome(0, 1, "", "sluice: device 0000:00:05.0: something\n")))
  }

  @Test("every row of the file is valid and has a source")
  func file() throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent().appending(
      path: "../LabRunner/Cases/Program/injections")
    let table = try InjectionTable(file: file)
    #expect(table.rows.count { $0.error != nil } > 50)
    #expect(table.rows.allSatisfy { !$0.source.isEmpty })
  }
}
