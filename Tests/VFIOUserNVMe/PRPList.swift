// SPDX-License-Identifier: Apache-2.0

import VFIOUser
import VFIOUserServer

/// The pages of a transfer (NVM Express Base 1.4 §4.3). Pages have 4 KiB.
enum PRPList {
  static let pageSize: UInt64 = 4096

  /// The pages, or the error of the command.
  enum Pages {
    case ranges([IOVARange])
    case failure(NVMeStatus)
  }

  /// Returns the ranges of a transfer in ascending order of its bytes.
  ///
  /// - Parameters:
  ///   - count: Bytes; not zero. The caller has limited it.
  ///   - port: Reads the lists.
  static func pages(_ command: NVMeCommand, count: Int, _ port: some DevicePort) -> Pages {
    guard command.usesPRP else { return .failure(.invalidField) }
    let first = min(UInt64(count), pageSize - command.prp1 % pageSize)
    var ranges = [IOVARange(address: command.prp1, size: first)]
    var rest = UInt64(count) - first
    if rest == 0 { return .ranges(ranges) }
    if rest <= pageSize {
      guard command.prp2 % pageSize == 0 else { return .failure(.invalidPRP) }
      return .ranges(ranges + [IOVARange(address: command.prp2, size: rest)])
    }
    guard command.prp2 % 8 == 0 else { return .failure(.invalidPRP) }
    var list = command.prp2
    while rest > 0 {
      // The last entry of a page points to the next list, if more than one page remains.
      let room = (pageSize - list % pageSize) / 8
      let needed = (rest + pageSize - 1) / pageSize
      let entries = min(needed, room)
      guard let bytes = port.read(IOVARange(address: list, size: 8 * entries)) else {
        return .failure(.transferError)
      }
      let pointers = stride(from: 0, to: bytes.count, by: 8).map { at in
        bytes[at..<at + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
      }
      let isChained = needed > room
      for pointer in isChained ? pointers.dropLast() : pointers[...] {
        guard pointer % pageSize == 0 else { return .failure(.invalidPRP) }
        let size = min(rest, pageSize)
        ranges.append(IOVARange(address: pointer, size: size))
        rest -= size
      }
      guard isChained, let next = pointers.last else { continue }
      guard next % pageSize == 0 else { return .failure(.invalidPRP) }
      list = next
    }
    return .ranges(ranges)
  }
}
