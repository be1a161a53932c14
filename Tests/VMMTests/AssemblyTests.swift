// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import VMM

@Suite struct AssemblyTests {
  @Test("a Linux guest without KVM's clock is given the frequency of the time stamp counter, others are not")
  func frequency() {
    func line(_ text: String) -> String { Assembly.commandLine(text, frequency: 2_500_000) }
    #expect(line("quiet no-kvmclock -- x") == "quiet no-kvmclock tsc_early_khz=2500000 -- x")
    #expect(line("no-kvmclock") == "no-kvmclock tsc_early_khz=2500000")
    for text in ["", "quiet", "no-kvmclock-vsyscall", "no-kvmclock tsc_early_khz=1", " a  b "] {
      #expect(line(text) == text)
    }
    #expect(Assembly.commandLine("no-kvmclock", frequency: nil) == "no-kvmclock")
  }

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
