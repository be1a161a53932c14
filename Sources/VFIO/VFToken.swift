// SPDX-License-Identifier: Apache-2.0

/// A VF token: a UUID that the owner of a physical function has set (VFIO_DEVICE_FEATURE_PCI_VF_TOKEN).
public enum VFToken {
  /// Returns the 16 bytes in the order of the text (Linux lib/uuid.c, uuid_t), or nil if the text is no UUID of 8-4-4-4-12
  /// hexadecimal digits (RFC 9562 §4).
  public static func bytes(_ text: String) -> [UInt8]? {
    let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    guard parts.map(\.count) == [8, 4, 4, 4, 12] else { return nil }
    let digits = parts.joined().compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
    guard digits.count == 32 else { return nil }
    return stride(from: 0, to: 32, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }
}
