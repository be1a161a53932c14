// SPDX-License-Identifier: Apache-2.0

/// The header of a multiboot kernel, version 1 (Multiboot Specification 0.6.96 §3.1).
struct MultibootHeader: Equatable {
  /// The load addresses in the header, present if bit 16 of the flags is set. They replace ELF headers.
  struct Addresses: Equatable {
    /// GPA of the header itself.
    let header: UInt32
    /// GPA of the first loaded byte.
    let load: UInt32
    /// GPA after the last loaded byte, or 0 to load the whole file.
    let loadEnd: UInt32
    /// GPA after the zeroed memory (BSS), or 0 if there is none.
    let bssEnd: UInt32
    /// GPA of the first instruction.
    let entry: UInt32
  }

  /// The offset of the header in the file.
  let offset: Int
  /// The features that the kernel requests.
  let flags: UInt32
  /// The load addresses, or nil if the ELF headers give them.
  let addresses: Addresses?

  /// The number of bytes at the start of the file that may contain the header.
  static let searchSize = 8192
  private static let magic: UInt32 = 0x1BAD_B002
  private static let hasAddresses: UInt32 = 1 << 16
  /// The flags of required features. A loader must reject a kernel that requires a feature which the loader
  /// does not support.
  private static let requirements: UInt32 = 0xFFFF
  /// The supported features: modules on page boundaries (bit 0) and memory information (bit 1) are always
  /// provided. A video mode (bit 2) is not supported.
  private static let supported: UInt32 = 0b11

  /// Creates the header from the first bytes of a file. Returns nil if there is no header.
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

  /// The flags of required features that Sluice does not support, or 0.
  var unsupportedFlags: UInt32 { flags & Self.requirements & ~Self.supported }
}
