// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux
import VFIOUser

/// The client's memory that the server may access. The server reads and writes the client's file by pread and pwrite:
/// the client can truncate the file at any time, and a mapping would then raise SIGBUS.
struct ClientMemory {
  /// The maximum number of ranges.
  static let mostRanges = 4096

  /// A mapped range.
  private struct Entry {
    let access: DMAAccess
    /// The client's file, or nil for messages.
    let file: SharedDescriptor?
    /// The offset of the range in the file.
    let offset: UInt64
  }

  private var entries: [IOVARange: Entry] = [:]

  /// Adds a range. Returns 0 or an error number.
  mutating func map(_ map: DMAMap, _ file: SharedDescriptor?) -> Int32 {
    if entries.count >= Self.mostRanges { return ENOSPC }
    if entries.keys.contains(where: { $0.overlaps(map.range) }) { return EEXIST }
    if let file {
      let size = cl_file_size(file.number)
      guard size >= 0, map.offset + map.range.size <= UInt64(size) else { return EINVAL }
    }
    entries[map.range] = Entry(access: map.access, file: file, offset: map.offset)
    return 0
  }

  /// Removes a range, or all ranges. Returns 0 or an error number.
  mutating func unmap(_ range: IOVARange?) -> Int32 {
    guard let range else {
      entries = [:]
      return 0
    }
    return entries.removeValue(forKey: range) == nil ? ENOENT : 0
  }

  /// A part of a transfer.
  enum Part {
    /// A file of the client, and an offset in it.
    case file(SharedDescriptor, UInt64)
    /// Messages.
    case messages
  }

  /// Returns the parts of a transfer, whose range is valid, in ascending order, or nil if the client has not granted the access.
  func parts(_ range: IOVARange, _ access: DMAAccess) -> [(IOVARange, Part)]? {
    var parts: [(IOVARange, Part)] = []
    var rest = range
    while true {
      let first = IOVARange(address: rest.address, size: 1)
      guard let (whole, entry) = entries.first(where: { $0.key.contains(first) }),
        entry.access.isSuperset(of: access)
      else { return nil }
      let start = rest.address - whole.address
      let size = min(rest.size, whole.size - start)
      let part = IOVARange(address: rest.address, size: size)
      parts.append((part, entry.file.map { .file($0, entry.offset + start) } ?? .messages))
      if size == rest.size { return parts }
      rest = IOVARange(address: rest.address + size, size: rest.size - size)
    }
  }
}
