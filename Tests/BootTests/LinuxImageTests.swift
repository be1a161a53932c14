// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Testing

@testable import Boot

/// An artificial bzImage: the header's fields and a payload of ascending bytes.
struct FakeLinux {
  var version: UInt16 = 0x020F
  var setupSectors: UInt8 = 3
  var payload: UInt32 = 0x1000
  var loadFlags: UInt8 = 1
  var extendedLoadFlags: UInt16 = 3
  var alignment: UInt32 = 0x20_0000
  var relocatable: UInt8 = 1
  var commandLineLimit: UInt32 = 2047
  var initrdLimit: UInt32 = 0x7FFF_FFFF
  var preferredAddress: UInt64 = 0x100_0000
  var initSize: UInt32 = 0x80_0000

  var bytes: [UInt8] {
    let setup = (Int(setupSectors == 0 ? 4 : setupSectors) + 1) * 512
    var file = [UInt8](repeating: 0, count: setup)
    file.set(UInt16(0x5A4D), at: 0)
    file.set(setupSectors, at: 0x1F1)
    file.set(payload / 16, at: 0x1F4)
    file.set(UInt16(0xAA55), at: 0x1FE)
    file.set(UInt16(0x66EB), at: 0x200)
    file.set(UInt32(0x5372_6448), at: 0x202)
    file.set(version, at: 0x206)
    file.set(loadFlags, at: 0x211)
    file.set(initrdLimit, at: 0x22C)
    file.set(alignment, at: 0x230)
    file.set(relocatable, at: 0x234)
    file.set(extendedLoadFlags, at: 0x236)
    file.set(commandLineLimit, at: 0x238)
    file.set(preferredAddress, at: 0x258)
    file.set(initSize, at: 0x260)
    return file + (0..<payload).map { UInt8(truncatingIfNeeded: $0) }
  }
}

@Suite("bzImage")
struct LinuxImageTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  func load(
    _ kernel: FakeLinux, initrd: String? = nil, commandLine: String = "console=ttyS0",
    memory: GuestMemory
  ) throws -> EntryPoint {
    try KernelImage.load(
      path: try scratch.file("vmlinuz", kernel.bytes), initrd: initrd, commandLine: commandLine,
      memory: memory)
  }

  func failure(_ kernel: FakeLinux, memory: UInt64 = 64, initrd: String? = nil, commandLine: String = "")
    throws -> BootError?
  {
    BootTests.failure(
      try scratch.file("vmlinuz", kernel.bytes), initrd: initrd, commandLine: commandLine,
      memory: try .mebibytes(memory))
  }

  @Test("the kernel is at its preferred address, and its entry point is 0x200 bytes above it")
  func entry() throws {
    let memory = try GuestMemory.mebibytes(64)
    let entry = try load(FakeLinux(), memory: memory)
    #expect(
      entry
        == .linux64(
          rip: GuestAddress(0x100_0200), rsi: PlatformLayout.bootParameters,
          cr3: PlatformLayout.pageTables))
    #expect(try memory.read(4, at: GuestAddress(0x100_0000)) == [0, 1, 2, 3])
    #expect(try memory.load(UInt8.self, at: GuestAddress(0x100_0FFF)) == 0xFF)
    #expect(try memory.load(UInt8.self, at: GuestAddress(0x100_1000)) == 0)
  }

  @Test("boot_params holds the header, the command line, the initrd, the RSDP and E820")
  func bootParameters() throws {
    let memory = try GuestMemory.mebibytes(64)
    let initrd = try scratch.file("initrd", [UInt8](repeating: 0x5A, count: 5000))
    _ = try load(FakeLinux(), initrd: initrd, memory: memory)
    let page = try memory.read(4096, at: PlatformLayout.bootParameters)
    #expect(page.little(UInt32.self, at: 0x202) == 0x5372_6448)
    #expect(page.little(UInt16.self, at: 0x206) == 0x020F)
    #expect(page[0x210] == 0xFF)
    #expect(page.little(UInt64.self, at: 0x070) == 0xE_0000)
    #expect(page.little(UInt32.self, at: 0x228) == 0x2_0000)
    #expect(page.little(UInt32.self, at: 0x21C) == 5000)
    let start = try #require(page.little(UInt32.self, at: 0x218))
    #expect(start == 64 << 20 - 8192)
    #expect(try memory.load(UInt8.self, at: GuestAddress(UInt64(start) + 4999)) == 0x5A)
    #expect(page[0x1E8] == 4)
    #expect(page.little(UInt64.self, at: 0x2D0) == 0)
    #expect(page.little(UInt64.self, at: 0x2D8) == 0x9_FC00)
    #expect(page.little(UInt32.self, at: 0x2E0) == 1)
    #expect(page[0x1EF] == 0, "the sentinel is clear")
    #expect(
      try memory.read(14, at: PlatformLayout.commandLine) == Array("console=ttyS0".utf8) + [0])
  }

  @Test("boot_params has no RSDP address before protocol 2.14")
  func oldACPI() throws {
    let memory = try GuestMemory.mebibytes(64)
    var kernel = FakeLinux()
    kernel.version = 0x020D
    _ = try load(kernel, memory: memory)
    #expect(try memory.load(UInt64.self, at: PlatformLayout.bootParameters + 0x070) == 0)
  }

  @Test("the page tables map the first 4 GiB to themselves with 2 MiB pages")
  func pageTables() throws {
    let memory = try GuestMemory.mebibytes(64)
    _ = try load(FakeLinux(), memory: memory)
    func entry(_ table: UInt64, _ index: UInt64) throws -> UInt64 {
      try memory.load(at: GuestAddress((table & ~0xFFF) + index * 8))
    }
    for address: UInt64 in [0, 0x100_0200, 0x7FFF_F000, 0xFFFF_FFFF] {
      let pdpt = try entry(PlatformLayout.pageTables.rawValue, 0)
      let directory = try entry(pdpt, address >> 30)
      let page = try entry(directory, address >> 21 & 511)
      #expect(page == address & ~0x1F_FFFF | 0x83)
    }
    #expect(try entry(try entry(PlatformLayout.pageTables.rawValue, 0), 4) == 0)
  }

  @Test("setup_sects of 0 means 4")
  func zeroSetupSectors() throws {
    let memory = try GuestMemory.mebibytes(64)
    var kernel = FakeLinux()
    kernel.setupSectors = 0
    _ = try load(kernel, memory: memory)
    #expect(try memory.read(4, at: GuestAddress(0x100_0000)) == [0, 1, 2, 3])
  }

  @Test("a relocatable kernel with an unusable preferred address is moved up")
  func misalignedAddress() throws {
    var kernel = FakeLinux()
    kernel.preferredAddress = 0x1000
    let memory = try GuestMemory.mebibytes(64)
    guard case .linux64(let rip, _, _) = try load(kernel, memory: memory) else {
      Issue.record("not a 64-bit entry")
      return
    }
    #expect(rip == GuestAddress(0x20_0200))
    kernel.relocatable = 0
    guard case .loadAddressTooLow = try failure(kernel) else {
      Issue.record("a kernel that is not relocatable was moved")
      return
    }
  }

  @Test("old protocols, kernels without a 64-bit entry and kernels below 1 MiB are refused with the cause")
  func refused() throws {
    var kernel = FakeLinux()
    kernel.version = 0x020B
    let old = try #require(try failure(kernel)).description
    #expect(old.contains("2.11") && old.contains("2.12"))
    kernel.version = 0x020F
    kernel.extendedLoadFlags = 2
    #expect(try #require(try failure(kernel)).description.contains("64-bit"))
    kernel.extendedLoadFlags = 3
    kernel.loadFlags = 0
    guard case .loadAddressTooLow(_, let reason) = try failure(kernel), reason.contains("below 1 MiB") else {
      Issue.record("a kernel below 1 MiB was accepted")
      return
    }
  }

  @Test("the error for a kernel larger than RAM has the required size", arguments: [0x3D0_0000, 0xFFFF_FFFF])
  func tooLarge(initSize: UInt32) throws {
    var kernel = FakeLinux()
    kernel.initSize = initSize
    let error = try #require(try failure(kernel))
    guard case .kernelTooLarge(_, let end, let memory) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(end == 0x100_0000 + UInt64(initSize))
    #expect(memory == 64 << 20)
  }

  @Test("a load address at the end of the address space does not wrap around")
  func wrappingAddress() throws {
    var kernel = FakeLinux()
    kernel.preferredAddress = 0xFFFF_FFFF_FFE0_0000
    guard case .kernelTooLarge = try failure(kernel) else {
      Issue.record("an address at the end of the address space was accepted")
      return
    }
  }

  @Test("the kernel limits the command line, and the reserved space limits it otherwise")
  func commandLine() throws {
    var kernel = FakeLinux()
    kernel.commandLineLimit = 10
    #expect(try failure(kernel, commandLine: "0123456789") == nil)
    let error = try #require(try failure(kernel, commandLine: "0123456789a"))
    #expect(error.description.contains("11 bytes") && error.description.contains("at most 10"))
    kernel.commandLineLimit = .max
    #expect(try failure(kernel, commandLine: String(repeating: "a", count: 65_535)) == nil)
    #expect(try failure(kernel, commandLine: String(repeating: "a", count: 65_536)) != nil)
  }

  @Test("the error for a truncated kernel counts the missing bytes", arguments: [0x300, 0x1000, 0x17FF])
  func truncated(size: Int) throws {
    let path = try scratch.file("cut", Array(FakeLinux().bytes.prefix(size)))
    let error = try #require(BootTests.failure(path, memory: try .mebibytes(64)))
    guard case .truncated(_, let has, let needs) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(has == size)
    #expect(needs == 0x1800)
    #expect(error.description.contains("\(0x1800 - size) missing"))
  }

  @Test("truncated files and changed bytes never trap")
  func hostile() throws {
    let memory = try GuestMemory.mebibytes(64)
    let whole = FakeLinux().bytes
    var random = SeededGenerator(state: 1)
    for round in 0..<400 {
      var file = whole
      if round % 2 == 0 {
        file = Array(whole.prefix(Int.random(in: 0..<whole.count, using: &random)))
        #expect(
          BootTests.failure(try scratch.file("hostile", file), memory: memory) != nil,
          "cut to \(file.count)")
        continue
      }
      for _ in 0..<8 {
        file[Int.random(in: 0x1F1..<0x268, using: &random)] = .random(in: 0...255, using: &random)
      }
      _ = BootTests.failure(try scratch.file("hostile", file), memory: memory)
    }
  }
}
