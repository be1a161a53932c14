// SPDX-License-Identifier: Apache-2.0

import Boot
import PCI
import Testing

@testable import VMM

@Suite struct MachineBuilderTests {
  @Test("only a Linux guest without KVM's clock gets the frequency of the time stamp counter")
  func frequency() {
    func line(_ text: String) -> String { KernelCommandLine.text(text, frequency: 2_500_000) }
    #expect(line("quiet no-kvmclock -- x") == "quiet no-kvmclock tsc_early_khz=2500000 -- x")
    #expect(line("no-kvmclock") == "no-kvmclock tsc_early_khz=2500000")
    #expect(line("a\tnopv\tb") == "a\tnopv tsc_early_khz=2500000\tb")
    for text in ["", "quiet", "no-kvmclock-vsyscall", "no-kvmclock tsc_early_khz=1", " a  b "] {
      #expect(line(text) == text)
    }
    #expect(KernelCommandLine.text("no-kvmclock", frequency: nil) == "no-kvmclock")
  }

  @Test(
    "reserved IOVAs in the guest's first MiB are reported with their device",
    arguments: [
      ([0xE8000...0xEFFFF], 4096, "RMRR"), ([0x7D00_0000...0x7D00_0FFF], 1 << 30, nil),
      ([0x1000_0000...0x1000_0FFF], 1 << 30, "page size 1024 MiB"), ([0x10_0000...0x10_0FFF], 4096, nil),
      ([0xFEE0_0000...0xFEEF_FFFF], 1 << 30, nil), ([], 4096, nil),
    ] as [([ClosedRange<UInt64>], UInt64, String?)])
  func firstMebibyte(_ reserved: [ClosedRange<UInt64>], _ pageSize: UInt64, _ word: String?) {
    let host = ReadyDevice(
      address: "0000:01:00.0", group: "7", token: nil, reserved: reserved)
    let problem = DeviceWindows.startProblem([host], pageSize: pageSize)
    #expect((problem != nil) == (word != nil))
    if let word, let problem {
      #expect(problem.description.hasPrefix("device 0000:01:00.0: "))
      #expect(problem.description.contains(word), "\(problem)")
    }
  }

  @Test("the 64-bit range for BARs is the largest part without reserved addresses")
  func window() {
    let amd: [ClosedRange<UInt64>] = [0xFD_0000_0000...0xFF_FFFF_FFFF, 0xFEE0_0000...0xFEEF_FFFF]
    #expect(DeviceWindows.largest(8 << 30..<1 << 40, without: amd) == 8 << 30..<0xFD_0000_0000)
    #expect(DeviceWindows.largest(8 << 30..<1 << 48, without: amd) == 1 << 40..<1 << 48)
    #expect(DeviceWindows.largest(8 << 30..<1 << 36, without: amd) == 8 << 30..<1 << 36)
    #expect(DeviceWindows.largest(0xFE_0000_0000..<0xFF_0000_0000, without: amd).isEmpty)
    #expect(DeviceWindows.largest(8 << 30..<1 << 40, without: [1 << 39...UInt64.max]) == 8 << 30..<1 << 39)
    #expect(DeviceWindows.largest(8 << 30..<1 << 40, without: []) == 8 << 30..<1 << 40)
  }

  @Test("I/O ports, 32-bit memory and 64-bit memory have separate ranges")
  func ranges() {
    let memory64: Range<UInt64> = 1 << 33..<1 << 40
    #expect(DeviceWindows.range(of: .io, memory64: memory64) == PlatformLayout.ioWindow)
    #expect(DeviceWindows.range(of: .memory32, memory64: memory64) == PlatformLayout.pciWindow32)
    #expect(DeviceWindows.range(of: .rom, memory64: memory64) == PlatformLayout.pciWindow32)
    #expect(DeviceWindows.range(of: .memory64, memory64: memory64) == memory64)
  }
}
