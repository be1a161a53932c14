// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import VMM

@Suite struct AssemblyTests {
  @Test("the 64-bit window of BARs is the largest part without an address that the IOMMU reserves")
  func window() {
    let amd: [ClosedRange<UInt64>] = [0xFD_0000_0000...0xFF_FFFF_FFFF, 0xFEE0_0000...0xFEEF_FFFF]
    #expect(Assembly.largest(8 << 30..<1 << 40, without: amd) == 8 << 30..<0xFD_0000_0000)
    #expect(Assembly.largest(8 << 30..<1 << 48, without: amd) == 1 << 40..<1 << 48)
    #expect(Assembly.largest(8 << 30..<1 << 36, without: amd) == 8 << 30..<1 << 36)
    #expect(Assembly.largest(0xFE_0000_0000..<0xFF_0000_0000, without: amd).isEmpty)
    #expect(Assembly.largest(8 << 30..<1 << 40, without: [1 << 39...UInt64.max]) == 8 << 30..<1 << 39)
    #expect(Assembly.largest(8 << 30..<1 << 40, without: []) == 8 << 30..<1 << 40)
  }
}
