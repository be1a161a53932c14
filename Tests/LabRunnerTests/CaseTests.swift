// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct CaseTests {
  @Test("each case has a unique name, and is part of `test` or of `long`")
  func names() {
    let names = Case.all.map(\.name)
    #expect(Set(names).count == names.count)
    let short = Set(Case.short.map(\.name))
    let long = Set(Case.long.map(\.name))
    #expect(short.isDisjoint(with: long))
    let onIOMMUFD = (Case.shortOnIOMMUFD + Case.longOnIOMMUFD).map(\.name)
    #expect(Set(onIOMMUFD).count == onIOMMUFD.count)
    #expect(short.union(long).union(onIOMMUFD) == Set(names))
  }

  @Test("in an L1 with an old kernel, each case runs once, and `test` has no long case")
  func oldHost() {
    let names = (Case.shortOnOldKernel + Case.longOnOldKernel).map(\.name)
    #expect(Set(names).count == names.count)
    #expect(Case.shortOnOldKernel.allSatisfy { !$0.isLong })
    #expect(Set(["nvme-6.12-cloud", "msix", "reset", "memory-enable", "peer-dma"]).isSubset(of: names))
  }
}
