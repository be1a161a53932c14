// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Seams
import Testing

@testable import Boot

/// An artificial multiboot kernel: a 32-bit ELF file, or any other file with addresses in its header.
private struct FakeMultiboot {
  var flags: UInt32 = 3
  var checksum: UInt32?
  var headerOffset = 0x800
  /// Header, load, load end, BSS end and entry.
  var addresses: [UInt32]?
  var isELF = true
  var entry: UInt32 = 0x10_0010
  /// The load address of the ELF file's only segment (GPA).
  var address: UInt32 = 0x10_0000

  var bytes: [UInt8] {
    var file = [UInt8](repeating: 0xEE, count: 0x3000)
    if isELF {
      file.replaceSubrange(0..<84, with: [UInt8](repeating: 0, count: 84))
      file.replaceSubrange(0..<7, with: [0x7F, 0x45, 0x4C, 0x46, 1, 1, 1])
      file.set(UInt16(2), at: 16)
      file.set(UInt16(3), at: 18)
      file.set(entry, at: 24)
      file.set(UInt32(52), at: 28)
      file.set(UInt16(32), at: 42)
      file.set(UInt16(1), at: 44)
      // PT_LOAD: offset, virtual address, address, bytes in the file, in memory
      for (index, word) in [1, 0x1000, 0xC010_0000, address, 0x100, 0x2000, 7, 4096].enumerated() {
        file.set(word, at: 52 + index * 4)
      }
    }
    file.set(UInt32(0x1BAD_B002), at: headerOffset)
    file.set(flags, at: headerOffset + 4)
    file.set(checksum ?? 0 &- 0x1BAD_B002 &- flags, at: headerOffset + 8)
    for (index, word) in (addresses ?? []).enumerated() { file.set(word, at: headerOffset + 12 + index * 4) }
    return file
  }
}

@Suite("multiboot, version 1")
struct MultibootTests {
  let scratch: Scratch
  let memory: GuestMemory

  init() throws {
    scratch = try Scratch()
    memory = try .mebibytes(64)
  }

  private func load(_ kernel: FakeMultiboot, initrd: String? = nil, _ line: String = "") throws -> EntryPoint
  {
    try KernelImage.load(
      path: try scratch.file("kernel", kernel.bytes), initrd: initrd, commandLine: line, memory: memory)
  }

  private func failure(_ kernel: FakeMultiboot) throws -> BootError? {
    BootTests.failure(try scratch.file("kernel", kernel.bytes), memory: memory)
  }

  private func word(_ address: UInt64) throws -> UInt32 {
    try #require(memory.read(4, at: GuestAddress(address)).little(at: 0))
  }

  private func text(_ address: UInt32) throws -> String {
    let bytes = try memory.read(256, at: GuestAddress(UInt64(address))).prefix { $0 != 0 }
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test("a 32-bit ELF kernel starts with the magic number in EAX and the information in EBX")
  func elf() throws {
    let entry = try load(FakeMultiboot())
    #expect(entry == .multiboot32(eip: GuestAddress(0x10_0010), ebx: PlatformLayout.multibootInfo))
    let state = entry.initialState
    #expect(state.rax == 0x2BAD_B002 && state.rbx == 0x1000 && state.rip == 0x10_0010)
    #expect(state.cs.db == 1 && state.cs.l == 0 && state.cr0 & 1 == 1 && state.cr0 >> 31 == 0)
    #expect(try word(0x10_0000) == 0xEEEE_EEEE)
    #expect(try word(0x10_0100) == 0)
  }

  @Test("the information has memory sizes, command line, module and memory map")
  func information() throws {
    let initrd = try scratch.file("module", [1, 2, 3])
    _ = try load(FakeMultiboot(), initrd: initrd, "one two")
    let base = PlatformLayout.multibootInfo.rawValue
    #expect(try word(base) == 0b10_0100_1101)
    #expect(try word(base + 4) == UInt32(PlatformLayout.lowMemoryEnd.rawValue >> 10))
    #expect(try word(base + 8) == 63 << 10)
    #expect(try text(word(base + 16)).hasSuffix("/kernel one two"))
    #expect(try text(word(base + 64)) == "Sluice")
    #expect(try word(base + 20) == 1)
    let module = UInt64(try word(base + 24))
    let start = UInt64(try word(module))
    #expect(try word(module + 4) == UInt32(start) + 3)
    #expect(try memory.read(3, at: GuestAddress(start)) == [1, 2, 3])
    #expect(try text(word(module + 8)) == initrd)
    // Walk the map by the size in front of each entry.
    let size = UInt64(try word(base + 44))
    var at = UInt64(try word(base + 48))
    let end = at + size
    var usable: [UInt64] = []
    while at < end {
      if try word(at + 20) == 1 {
        usable += [UInt64(try word(at + 4)), UInt64(try word(at + 4)) + UInt64(try word(at + 12))]
      }
      at += UInt64(try word(at)) + 4
    }
    #expect(at == end)
    #expect(usable == [0, PlatformLayout.lowMemoryEnd.rawValue, 0x10_0000, 64 << 20])
  }

  @Test("a file without ELF headers is loaded at the addresses in its header")
  func addresses() throws {
    var kernel = FakeMultiboot(flags: 1 << 16, isELF: false)
    kernel.addresses = [0x20_0400, 0x20_0000, 0x20_1000, 0x20_3000, 0x20_0020]
    let entry = try load(kernel)
    #expect(entry == .multiboot32(eip: GuestAddress(0x20_0020), ebx: PlatformLayout.multibootInfo))
    #expect(try word(0x20_0400) == 0x1BAD_B002, "the header is at its own address")
    #expect(try word(0x20_0FFC) == 0xEEEE_EEEE)
    #expect(try word(0x20_1000) == 0)
    kernel.addresses?[2] = 0
    _ = try load(kernel)
    #expect(try word(0x20_1000) == 0xEEEE_EEEE, "the whole file is loaded")
  }

  @Test("a header with a wrong checksum, alignment or offset is ignored")
  func absent() {
    var kernel = FakeMultiboot()
    #expect(MultibootHeader(in: kernel.bytes)?.offset == 0x800)
    kernel.checksum = 1
    #expect(MultibootHeader(in: kernel.bytes) == nil)
    kernel.checksum = nil
    kernel.headerOffset = 0x802
    #expect(MultibootHeader(in: kernel.bytes) == nil)
    kernel.headerOffset = 8192
    #expect(MultibootHeader(in: Array(kernel.bytes.prefix(8192))) == nil)
    #expect(MultibootHeader(in: []) == nil)
  }

  @Test("a kernel that requires a video mode is refused")
  func videoMode() throws {
    guard case .unsupportedFeatures(_, flags: 4) = try failure(FakeMultiboot(flags: 4)) else {
      Issue.record("a kernel that requires a video mode was accepted")
      return
    }
  }

  @Test("a file without ELF headers that loads below 1 MiB is refused with the cause")
  func lowAddresses() throws {
    let addresses: [UInt32] = [0x8_0400, 0x8_0000, 0x8_1000, 0, 0x8_0020]
    let error = try failure(FakeMultiboot(flags: 1 << 16, addresses: addresses, isELF: false))
    guard case .loadAddressTooLow(_, let reason) = error, reason.contains("0x80000 is below 1 MiB") else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test(
    "inconsistent addresses are refused",
    arguments: [
      [0x20_0400, 0x8_0000, 0, 0, 0x20_0020], [0x10_0000, 0x20_0000, 0, 0, 0x20_0020],
      [0x20_0C00, 0x20_0000, 0, 0, 0x20_0020], [0x20_0400, 0x20_0000, 0x20_1000, 0, 0x20_1000],
      [0x20_0400, 0x20_0000, 0x20_9000, 0, 0x20_0020], [0x20_0400, 0x20_0000, 0, 0xF000_0000, 0x20_0020],
    ] as [[UInt32]])
  func wrong(_ addresses: [UInt32]) throws {
    #expect(try failure(FakeMultiboot(flags: 1 << 16, addresses: addresses, isELF: false)) != nil)
  }

  @Test("an ELF kernel with its entry outside its segments, or 32-bit without a header, is refused")
  func noEntry() throws {
    #expect(try failure(FakeMultiboot(entry: 0x10_0100))?.description.contains("entry") == true)
    #expect(
      try failure(FakeMultiboot(checksum: 1))?.description.contains("without a multiboot header") == true)
  }

  @Test("a segment may be at free addresses below 1 MiB, and the initrd stays above 1 MiB")
  func low() throws {
    let initrd = try scratch.file("initrd", [1, 2, 3])
    let entry = try load(FakeMultiboot(entry: 0x8010, address: 0x8000), initrd: initrd)
    #expect(entry == .multiboot32(eip: GuestAddress(0x8010), ebx: PlatformLayout.multibootInfo))
    #expect(try word(0x8000) == 0xEEEE_EEEE)
    #expect(try word(UInt64(word(PlatformLayout.multibootInfo.rawValue + 24))) >= 0x10_0000)
    for address in [0x1000, 0x1_F000, 0x9_F000] as [UInt32] {
      let error = try failure(FakeMultiboot(entry: address + 0x10, address: address))
      guard case .loadAddressTooLow(_, let reason) = error else {
        Issue.record("\(address): \(String(describing: error))")
        continue
      }
      #expect(reason.contains("below 1 MiB and not within 0x2000-0x1ffff"), "\(address)")
    }
  }

  @Test("random bytes after a valid header never trap")
  func random() throws {
    var generator = SeededGenerator(state: 11)
    for _ in 0..<200 {
      var bytes = FakeMultiboot().bytes
      for _ in 0..<8 {
        bytes[Int.random(in: 4..<84, using: &generator)] = .random(in: 0...255, using: &generator)
      }
      // The file loads, or the loader returns an error.
      _ = BootTests.failure(try scratch.file("kernel", bytes), memory: memory)
      let addresses = (0..<5).map { _ in UInt32.random(in: 0...UInt32.max, using: &generator) }
      let flat = FakeMultiboot(flags: 1 << 16, addresses: addresses, isELF: false)
      _ = try failure(flat)
    }
  }
}
