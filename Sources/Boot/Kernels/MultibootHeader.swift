// SPDX-License-Identifier: Apache-2.0

/// The header of a kernel for multiboot, version 1 (Multiboot Specification 0.6.96 §3.1).
struct MultibootHeader: Equatable {
  /// Where a file that is no ELF file goes: bit 16 of the flags.
  struct Addresses: Equatable {
    /// GPA of the header itself.
    let header: UInt32
    /// GPA of the first byte that is loaded.
    let load: UInt32
    /// GPA after the last; 0 for all of the file.
    let loadEnd: UInt32
    /// GPA after what is to be zero; 0 where there is none.
    let bssEnd: UInt32
    /// GPA of the first instruction.
    let entry: UInt32
  }

  /// Where it is in the file.
  let offset: Int
  /// What the kernel asks for.
  let flags: UInt32
  /// nil where the ELF headers say where the kernel goes.
  let addresses: Addresses?

  /// The header is in the first bytes of the file.
  static let searchSize = 8192
  private static let magic: UInt32 = 0x1BAD_B002
  private static let hasAddresses: UInt32 = 1 << 16
  /// What a loader has to be able to do, or not to load: modules on page boundaries (0) and memory (1) are
  /// what it always does, a video mode (2) is not to be had.
  private static let requirements: UInt32 = 0xFFFF
  private static let known: UInt32 = 0b11

  /// Finds it; nil where there is none.
  init?(in start: [UInt8]) {
    func word(_ offset: Int) -> UInt32? { start.little(at: offset) }
    let found = stride(from: 0, to: min(start.count, Self.searchSize) - 11, by: 4).first { offset in
      guard let magic = word(offset), magic == Self.magic, let flags = word(offset + 4),
        let checksum = word(offset + 8)
      else { return false }
      return magic &+ flags &+ checksum == 0
    }
    guard let found, let flags = word(found + 4) else { return nil }
    offset = found
    self.flags = flags
    guard flags & Self.hasAddresses != 0 else {
      addresses = nil
      return
    }
    guard let header = word(found + 12), let load = word(found + 16), let loadEnd = word(found + 20),
      let bssEnd = word(found + 24), let entry = word(found + 28)
    else { return nil }
    addresses = Addresses(header: header, load: load, loadEnd: loadEnd, bssEnd: bssEnd, entry: entry)
  }

  /// The bits of what it needs and Sluice has not; 0 where there are none.
  var unmet: UInt32 { flags & Self.requirements & ~Self.known }
}
