// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import Testing

@testable import LabRunner

@Suite struct L1KernelTests {
  @Test("names the three kernels", arguments: ["6.1", "6.12", "7.3"])
  func names(name: String) throws {
    let kernel = try L1Kernel(argument: name)
    #expect(kernel.source == .debian(try #require(KernelName(rawValue: name))))
    #expect(kernel.name == name)
  }

  @Test("refuses a guest's kernel and a missing file", arguments: ["7.3-cloud", "/nonexistent/kernel"])
  func others(argument: String) {
    #expect(throws: LabError.self) { try L1Kernel(argument: argument) }
    let error = #expect(throws: (any Error).self) { try Run.parse(["msix", "--l1", argument]) }
    #expect(error.map { Run.message(for: $0) }?.contains("--l1 \(argument): ") ?? false)
    #expect(error.map { Run.exitCode(for: $0) } == .validationFailure)
  }

  @Test("a fault implies iommufd")
  func mutant() throws {
    let run = try Run.parse(["msix", "--l1", "7.3", "--mutant", "no-zap"])
    let kernel = try run.host.kernel(run.changes)
    #expect(kernel.iommufd)
    #expect(kernel.description == "7.3 and iommufd and the fault no-zap")
  }

  @Test("a case is skipped if L1's kernel is too old or has no iommufd")
  func skips() {
    let (plain, peer) = (
      Case("plain", "") { _ in "" }, Case("peer", "", needsLinux: .init(6, 19)) { _ in "" }
    )
    let device = Case("device", "", needsIOMMUFD: true) { _ in "" }
    func reason(_ one: Case, iommufd: Bool = false, mutant: ModuleMutant? = nil, _ version: String) -> String?
    {
      var kernel = L1Kernel(.newFull, iommufd: iommufd)
      kernel.mutant = mutant
      return Lab.reasonToSkip(one, kernel, KernelVersion(release: version))
    }
    #expect(reason(plain, "6.1.0") == nil)
    #expect(reason(plain, iommufd: true, "6.1.0") == "needs Linux 6.6")
    #expect(reason(plain, iommufd: true, mutant: .noRevoke, "6.12.95") == "needs Linux 6.19")
    #expect(reason(peer, "6.12.95") == "needs Linux 6.19")
    #expect(reason(peer, "7.3.4") == nil)
    #expect(reason(device, iommufd: true, "6.12.95") == nil)
    #expect(reason(device, "6.12.95")?.hasPrefix("needs iommufd") ?? false)
    #expect(reason(device, iommufd: true, "next") == nil)
  }
}
