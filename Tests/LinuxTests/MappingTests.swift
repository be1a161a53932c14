// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@Suite struct MappingTests {
  /// An empty file. Its mappings are never accessed.
  private static func file(_ directory: Temporary) throws -> OwnedDescriptor {
    try OwnedDescriptor(opening: try directory.file("file"), .readWrite)
  }

  @Test(
    "a mapping is congruent with its offset modulo the largest page that fits in it",
    arguments: [
      (0, 4096, 4096), (0x3000, 0x5000, 0x4000), (0x20_0000, 0x20_0000, 0x20_0000),
      (0x12_3000, 0x60_0000, 0x40_0000), (0x4000_1000, 0x8000_0000, 0x4000_0000),
    ] as [(UInt64, UInt64, UInt64)])
  func congruent(_ offset: UInt64, _ size: UInt64, _ page: UInt64) throws {
    let directory = try Temporary()
    let file = try Self.file(directory)
    let mapping = try Mapping(descriptor: file.number, offset: offset, size: size)
    #expect(mapping.size == size)
    #expect(mapping.address % page == offset % page)
  }

  @Test("a piece of a BAR is congruent with its offset in the BAR")
  func piece() throws {
    let directory = try Temporary()
    let file = try Self.file(directory)
    let mapping = try Mapping(
      descriptor: file.number, offset: 0x1000, size: 0x40_0000, congruentWith: 0x20_3000)
    #expect(mapping.address % 0x40_0000 == 0x20_3000)
  }

  @Test("a detached mapping keeps its addresses without access, until a file is attached again")
  func detach() throws {
    let directory = try Temporary()
    let file = try Self.file(directory)
    let mapping = try Mapping(descriptor: file.number, offset: 0, size: 0x2000)
    let range = "\(String(mapping.address, radix: 16))-\(String(mapping.address + 0x2000, radix: 16))"
    func access() throws -> String? {
      try Self.maps().first { $0.hasPrefix(range) }?.split(separator: " ").dropFirst().first.map(String.init)
    }
    #expect(try access() == "rw-s")
    try mapping.detach()
    #expect(try access() == "---p")
    try mapping.attach(descriptor: file.number, offset: 0)
    #expect(try access() == "rw-s")
    #expect(throws: KernelError("mmap 8192 bytes", errno: 9)) {
      try mapping.attach(descriptor: -1, offset: 0)
    }
  }

  /// The lines of /proc/self/maps.
  private static func maps() throws -> [String] {
    let maps = try OwnedDescriptor(opening: "/proc/self/maps", .read)
    var text = ""
    while case let bytes = try maps.read(upTo: 1 << 16), !bytes.isEmpty {
      text += String(decoding: bytes, as: UTF8.self)
    }
    return text.split(separator: "\n").map(String.init)
  }

  @Test("an error of mmap has the size, and frees the reserved address space")
  func refused() throws {
    #expect(throws: KernelError("mmap 4096 bytes", errno: 9)) {
      _ = try Mapping(descriptor: -1, offset: 0, size: 4096)
    }
    let directory = try Temporary()
    let file = try Self.file(directory)
    #expect(throws: KernelError("mmap 4096 bytes", errno: KernelError.invalid)) {
      _ = try Mapping(descriptor: file.number, offset: 1, size: 4096)
    }
  }

  @Test("the kernel keeps the mapping for its owner's life, and nothing around it")
  func lifetime() throws {
    let directory = try Temporary()
    let path = try directory.file("mapped")
    let file = try OwnedDescriptor(opening: path, .readWrite)
    func lines() throws -> [String] { try Self.maps().filter { $0.hasSuffix(path) } }
    do {
      let mapping = try Mapping(descriptor: file.number, offset: 0, size: 0x20_0000)
      let end = String(mapping.address + 0x20_0000, radix: 16)
      #expect(
        try lines().map { $0.split(separator: " ")[0] } == ["\(String(mapping.address, radix: 16))-\(end)"])
    }
    #expect(try lines().isEmpty)
  }
}
