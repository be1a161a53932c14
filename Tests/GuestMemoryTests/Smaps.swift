// SPDX-License-Identifier: Apache-2.0

import Linux

/// What the kernel says of one mapping of this process (/proc/self/smaps).
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
    // The next mapping's line begins with an address in small letters, a field with a capital one.
    lines = Array(all[(first + 1)...].prefix { $0.first?.isUppercase == true })
  }

  /// A size, in bytes; nil where there is no such field.
  func bytes(_ name: String) -> UInt64? {
    let line = lines.first { $0.hasPrefix(name + ":") }
    return line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }.map { $0 << 10 }
  }

  /// The flags: `hg` where huge pages were asked for.
  var flags: [Substring] {
    lines.first { $0.hasPrefix("VmFlags:") }?.split(separator: " ").dropFirst().map { $0 } ?? []
  }
}
