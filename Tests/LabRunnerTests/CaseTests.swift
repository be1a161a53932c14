// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct CaseTests {
  @Test("each case has a unique name, and is part of `test` or of `long`")
  func names() {
    let names = Case.all.map(\.name)
    #expect(Set(names).count == names.count)
    #expect(
      Case.short.count + Case.long.count + Case.longOnIOMMUFD.count
        + Case.shortOnIOMMUFD.count(where: \.needsIOMMUFD) == Case.all.count)
  }

  @Test("in an L1 with an old kernel, each case runs once, and `test` has no long case")
  func oldHost() {
    let names = (Case.shortOnOldKernel + Case.longOnOldKernel).map(\.name)
    #expect(Set(names).count == names.count)
    #expect(Case.shortOnOldKernel.allSatisfy { !$0.isLong })
    #expect(Set(["nvme-6.12-cloud", "msix", "reset", "memory-enable", "peer-dma"]).isSubset(of: names))
  }
}
