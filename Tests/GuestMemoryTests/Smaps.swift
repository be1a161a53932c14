// SPDX-License-Identifier: Apache-2.0

import Linux

/// The kernel's facts about one mapping of this process (/proc/self/smaps).
struct Smaps {
  private let lines: [Substring]

  /// Reads the entry of the mapping that begins at a host address.
  init(at address: UInt64) throws {
    let file = try OwnedDescriptor(opening: "/proc/self/smaps", .read)
    var text = ""
    while case let bytes = try file.read(upTo: 1 << 16), !bytes.isEmpty {
      text += String(decoding: bytes, as: UTF8.self)
    }
    let all = text.split(separator: "\n")
    guard let first = all.firstIndex(where: { $0.hasPrefix(String(address, radix: 16) + "-") }) else {
      lines = []
      return
    }
    // The line of the next mapping begins with a lower-case address. A field begins with a capital letter.
    lines = Array(all[(first + 1)...].prefix { $0.first?.isUppercase == true })
  }

  /// Returns the size in a field, in bytes, or nil if the field does not exist.
  func bytes(_ name: String) -> UInt64? {
    let line = lines.first { $0.hasPrefix(name + ":") }
    return line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }.map { $0 << 10 }
  }

  /// The flags of the mapping: `hg` if huge pages were requested.
  var flags: [Substring] {
    lines.first { $0.hasPrefix("VmFlags:") }?.split(separator: " ").dropFirst().map { $0 } ?? []
  }
}
