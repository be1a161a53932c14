// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Testing

@testable import Boot

/// An artificial ELF kernel.
struct FakeELF {
  struct Segment {
    var type: UInt32 = 1
    var offset: UInt64
    var address: UInt64
    var fileSize: UInt64
    var memorySize: UInt64
    var alignment: UInt64 = 4096
  }

  var identity: [UInt8] = [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1]
  var type: UInt16 = 2
  var machine: UInt16 = 62
  var tableOffset: UInt64 = 64
  var headerSize: UInt16 = 56
  var count: UInt16?
  var segments = [
    Segment(offset: 0x1000, address: 0x10_0000, fileSize: 0x100, memorySize: 0x2000),
    Segment(type: 4, offset: 0x800, address: 0, fileSize: 20, memorySize: 20, alignment: 4),
  ]
  var note = FakeELF.note(18, "Xen\0", 0x10_0010)

  static func note(_ type: UInt32, _ name: String, _ entry: UInt32) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(little: UInt32(name.utf8.count))
    bytes.append(little: UInt32(4))
    bytes.append(little: type)
    bytes += Array(name.utf8)
    bytes += [UInt8](repeating: 0, count: (4 - name.utf8.count % 4) % 4)
    bytes.append(little: entry)
    return bytes
  }

  var bytes: [UInt8] {
    var file = [UInt8](repeating: 0, count: 0x1100)
    file.replaceSubrange(0..<identity.count, with: identity)
    file.set(type, at: 16)
    file.set(machine, at: 18)
    file.set(tableOffset, at: 32)
    file.set(headerSize, at: 54)
    file.set(count ?? UInt16(segments.count), at: 56)
    for (index, segment) in segments.enumerated() {
      let base = 64 + index * 56
      file.set(segment.type, at: base)
      file.set(segment.offset, at: base + 8)
      file.set(segment.address, at: base + 24)
      file.set(segment.fileSize, at: base + 32)
      file.set(segment.memorySize, at: base + 40)
      file.set(segment.alignment, at: base + 48)
    }
    file.replaceSubrange(0x800..<0x800 + note.count, with: note)
    for index in 0x1000..<0x1100 { file[index] = 0xEE }
    return file
  }
}

@Suite("ELF with a PVH note")
struct ELFImageTests {
  let scratch: Scratch
  let memory: GuestMemory

  init() throws {
    scratch = try Scratch()
    memory = try .mebibytes(64)
  }

  func failure(_ kernel: FakeELF, initrd: String? = nil) throws -> BootError? {
    BootTests.failure(try scratch.file("vmlinux", kernel.bytes), initrd: initrd, memory: memory)
  }

  @Test("segments, start info, module, command line and memory map are in guest RAM")
  func load() throws {
    let initrd = try scratch.file("initrd", [1, 2, 3])
    let path = try scratch.file("vmlinux", FakeELF().bytes)
    let entry = try KernelImage.load(path: path, initrd: initrd, commandLine: "a b", memory: memory)
    #expect(entry == .pvh32(eip: GuestAddress(0x10_0010), ebx: PlatformLayout.pvhStartInfo))
    #expect(try memory.load(UInt8.self, at: GuestAddress(0x10_00FF)) == 0xEE)
    #expect(try memory.load(UInt8.self, at: GuestAddress(0x10_0100)) == 0)

    let info = try memory.read(56, at: PlatformLayout.pvhStartInfo)
    #expect(info.little(UInt32.self, at: 0) == 0x336E_C578)
    #expect(info.little(UInt32.self, at: 4) == 1)
    #expect(info.little(UInt32.self, at: 12) == 1)
    #expect(info.little(UInt64.self, at: 24) == 0x2_0000)
    #expect(info.little(UInt64.self, at: 32) == 0xE_0000)
    let module = GuestAddress(try #require(info.little(UInt64.self, at: 16)))
    let address: UInt64 = try memory.load(at: module)
    #expect(address == 64 << 20 - 4096)
    #expect(try memory.load(UInt64.self, at: module + 8) == 3)
    #expect(try memory.read(3, at: GuestAddress(address)) == [1, 2, 3])
    let map = GuestAddress(try #require(info.little(UInt64.self, at: 40)))
    #expect(info.little(UInt32.self, at: 48) == 4)
    #expect(try memory.load(UInt64.self, at: map + 8) == 0x9_FC00)
    #expect(try memory.load(UInt32.self, at: map + 16) == 1)
    #expect(try memory.load(UInt32.self, at: map + 24 + 16) == 2)
    #expect(try memory.read(4, at: PlatformLayout.commandLine) == Array("a b".utf8) + [0])
  }

  @Test("the start info has no module if there is no initrd")
  func noInitrd() throws {
    #expect(try failure(FakeELF()) == nil)
    let info = try memory.read(56, at: PlatformLayout.pvhStartInfo)
    #expect(info.little(UInt32.self, at: 12) == 0)
    #expect(info.little(UInt64.self, at: 16) == 0)
  }

  @Test("the PVH note is found after other notes, and wrong names, types and sizes are skipped")
  func notes() {
    let wanted = FakeELF.note(18, "Xen\0", 0x1234)
    let others = FakeELF.note(18, "GNU\0", 1) + FakeELF.note(6, "Xen\0", 2) + FakeELF.note(1, "Longer\0", 3)
    #expect(PVHNote.entry(in: wanted, alignment: 4) == 0x1234)
    #expect(PVHNote.entry(in: others + wanted, alignment: 4) == 0x1234)
    #expect(PVHNote.entry(in: others, alignment: 4) == nil)
    #expect(PVHNote.entry(in: Array(wanted.dropLast()), alignment: 4) == nil)
    var huge = wanted
    huge.set(UInt32.max, at: 0)
    #expect(PVHNote.entry(in: huge, alignment: 4) == nil)
    var wide = Array(wanted.prefix(16)) + [0, 0, 0x30, 0, 0, 0, 0, 0]
    wide.set(UInt32(8), at: 4)
    #expect(PVHNote.entry(in: wide, alignment: 4) == 0x30_0000)
    wide[22] = 1
    #expect(PVHNote.entry(in: wide, alignment: 4) == nil, "the entry is above 4 GiB")
  }

  @Test("an ELF file without the PVH note is refused, and the error says so")
  func noNote() throws {
    var kernel = FakeELF()
    kernel.note = FakeELF.note(17, "Xen\0", 0)
    #expect(try #require(try failure(kernel)).description.contains("without a PVH note"))
    kernel.segments.removeLast()
    guard case .noPVHNote = try failure(kernel) else {
      Issue.record("a file without a PVH note was accepted")
      return
    }
  }

  @Test("ELF files for other machines are refused")
  func wrongKind() throws {
    for change: (inout FakeELF) -> Void in [
      { $0.identity[4] = 1 }, { $0.identity[5] = 2 }, { $0.machine = 183 }, { $0.type = 1 },
    ] {
      var kernel = FakeELF()
      change(&kernel)
      guard case .wrongELF = try failure(kernel) else {
        Issue.record("the file was accepted")
        continue
      }
    }
  }

  @Test("a file with inconsistent headers is refused")
  func contradictions() throws {
    let changes: [(inout FakeELF) -> Void] = [
      { $0.tableOffset = .max - 10 },
      { $0.tableOffset = 1 << 62 },
      { $0.count = 0xFFFE },
      { $0.count = 0xFFFF },
      { $0.count = 0 },
      { $0.headerSize = 8 },
      { $0.segments[0].offset = .max - 4 },
      { $0.segments[0].fileSize = .max },
      { $0.segments[0].memorySize = .max },
      { $0.segments[0].memorySize = 0x80 },
      { $0.segments[0].address = .max - 4 },
      { $0.segments[0].address = 0xC000_0000 },
      { $0.segments[0].address = 0x7000 },
      { $0.segments[0].memorySize = 64 << 20 },
      { $0.segments[1].fileSize = 1 << 40 },
      { $0.segments[1].offset = .max },
      { $0.segments.append($0.segments[0]) },
      { $0.segments[0].type = 0 },
      { $0.note = FakeELF.note(18, "Xen\0", 0x10_0100) },
      { $0.note = FakeELF.note(18, "Xen\0", 0xF_FFFF) },
    ]
    for (index, change) in changes.enumerated() {
      var kernel = FakeELF()
      change(&kernel)
      #expect(try failure(kernel) != nil, "change \(index) was accepted")
    }
  }

  @Test("truncated files and changed bytes never trap")
  func hostile() throws {
    let whole = FakeELF().bytes
    var random = SeededGenerator(state: 3)
    for round in 0..<400 {
      var file = whole
      if round % 2 == 0 {
        file = Array(whole.prefix(Int.random(in: 0..<whole.count, using: &random)))
        let error = BootTests.failure(try scratch.file("hostile", file), memory: memory)
        #expect(error != nil, "cut to \(file.count)")
        continue
      }
      for _ in 0..<8 {
        let range = Bool.random(using: &random) ? 0..<176 : 0x800..<0x814
        file[Int.random(in: range, using: &random)] = .random(in: 0...255, using: &random)
      }
      _ = BootTests.failure(try scratch.file("hostile", file), memory: memory)
    }
  }
}
