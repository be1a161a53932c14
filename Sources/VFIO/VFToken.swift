// SPDX-License-Identifier: Apache-2.0

/// A VF token: a UUID as text (RFC 9562).
public enum VFToken {
  /// Returns the 16 bytes in the order of the text (Linux lib/uuid.c, uuid_t), or nil if the text is no UUID.
  public static func bytes(_ text: String) -> [UInt8]? {
    let digits = text.filter { $0 != "-" }
    guard digits.utf8.count == 32 else { return nil }
    var bytes: [UInt8] = []
    var rest = digits[...]
    while !rest.isEmpty {
      guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
      bytes.append(byte)
      rest = rest.dropFirst(2)
    }
    return bytes
  }
}
