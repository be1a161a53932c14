// SPDX-License-Identifier: Apache-2.0

/// The data of Identify (NVM Express Base 1.4 §5.15).
enum NVMeIdentity {
  /// Bytes.
  static let size = 4096
  /// The maximum transfer: 2^5 pages, 128 KiB.
  static let transferShift: UInt8 = 5
  /// Bytes.
  static let mostTransfer = Int(PRPList.pageSize) << Int(transferShift)
  /// The maximum number of pending requests for asynchronous events.
  static let eventRequests = 4

  private struct Data {
    var bytes = [UInt8](repeating: 0, count: size)

    mutating func set(_ offset: Int, _ value: UInt64, _ width: Int) {
      for index in 0..<width { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
    }

    mutating func set(_ offset: Int, _ text: String, _ width: Int, fill: UInt8 = 0x20) {
      let padded =
        Array(text.utf8.prefix(width)) + [UInt8](repeating: fill, count: max(0, width - text.utf8.count))
      bytes.replaceSubrange(offset..<offset + width, with: padded)
    }
  }

  /// Returns the data of the controller (CNS 1).
  static func controller(vendor: UInt16, version: UInt32) -> [UInt8] {
    var data = Data()
    data.set(0, UInt64(vendor), 2)
    data.set(2, UInt64(vendor), 2)
    data.set(4, "SLUICE0001", 20)
    data.set(24, "Sluice test drive", 40)
    data.set(64, "1", 8)
    data.set(77, UInt64(transferShift), 1)
    data.set(80, UInt64(version), 4)
    data.set(259, UInt64(eventRequests - 1), 1)
    data.set(260, 2, 1)  // one firmware slot
    data.set(512, 0x66, 1)  // submission entries of 2^6 bytes
    data.set(513, 0x44, 1)  // completion entries of 2^4 bytes
    data.set(516, 1, 4)  // one namespace
    data.set(525, 1, 1)  // a volatile write cache
    data.set(768, "nqn.2014.08.org.nvmexpress:sluice:test-drive", 256, fill: 0)
    return data.bytes
  }

  /// Returns the data of the namespace (CNS 0).
  static func namespace(blocks: UInt64) -> [UInt8] {
    var data = Data()
    for offset in [0, 8, 16] { data.set(offset, blocks, 8) }
    data.set(130, UInt64(NVMeImage.blockSize.trailingZeroBitCount), 1)
    return data.bytes
  }

  /// Returns the list of namespaces after a number (CNS 2).
  static func namespaces(after number: UInt32) -> [UInt8] {
    var data = Data()
    if number == 0 { data.set(0, 1, 4) }
    return data.bytes
  }
}
