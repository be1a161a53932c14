// SPDX-License-Identifier: Apache-2.0

internal import GuestMemory

/// The identity map of the first 4 GiB for the 64-bit Linux entry.
///
/// It uses 2 MiB pages, because some processors do not support larger pages (Intel SDM volume 3 §4.5).
enum PageTables {
  private static let pageSize: UInt64 = 4096
  private static let entries: UInt64 = 512
  private static let directories: UInt64 = 4
  private static let presentWritable: UInt64 = 1 << 0 | 1 << 1
  private static let largePage: UInt64 = 1 << 7

  /// Returns the tables' bytes for address `base`: PML4, PDPT and a page directory for each GiB.
  static func bytes(at base: GuestAddress) -> [UInt8] {
    let pdpt = base.rawValue + pageSize
    let firstDirectory = pdpt + pageSize
    var bytes: [UInt8] = []
    bytes.append(little: pdpt | presentWritable)
    bytes.append(contentsOf: repeatElement(0, count: Int(pageSize) - 8))
    for index in 0..<directories {
      bytes.append(little: firstDirectory + index * pageSize | presentWritable)
    }
    bytes.append(contentsOf: repeatElement(0, count: Int(pageSize - directories * 8)))
    for page in 0..<directories * entries { bytes.append(little: page << 21 | largePage | presentWritable) }
    return bytes
  }
}
