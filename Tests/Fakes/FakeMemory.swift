// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Seams

extension FakeDevice {
  /// The bytes of a BAR.
  final class Memory: Sendable {
    let mapping: Mapping
    let size: UInt64

    init(_ size: UInt64) throws(OperationError) {
      self.size = size
      do throws(KernelError) { mapping = try Mapping(anonymous: (size + 4095) & ~4095) } catch {
        throw OperationError(error)
      }
    }

    var range: Range<UInt64> { mapping.address..<mapping.address + mapping.size }

    func pointer(_ offset: UInt64) -> UnsafeMutableRawPointer? {
      unsafe UnsafeMutableRawPointer(bitPattern: UInt(mapping.address + offset))
    }

    func load(_ offset: UInt64, _ width: Int) -> UInt64 {
      var value: UInt64 = 0
      for byte in 0..<width {
        // SAFETY: the caller has checked the range against the size of the mapping.
        let part = unsafe pointer(offset + UInt64(byte))?.load(as: UInt8.self) ?? 0
        value |= UInt64(part) << UInt64(byte * 8)
      }
      return value
    }

    func store(_ offset: UInt64, _ width: Int, _ value: UInt64) {
      for byte in 0..<width {
        // SAFETY: as above.
        unsafe pointer(offset + UInt64(byte))?
          .storeBytes(of: UInt8(truncatingIfNeeded: value >> UInt64(byte * 8)), as: UInt8.self)
      }
    }
  }
}
