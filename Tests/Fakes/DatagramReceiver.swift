// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A datagram socket that receives the messages of a program.
package final class DatagramReceiver {
  private let number = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)

  /// Binds to a path, or to an abstract name if it begins with `@`.
  package init(_ text: String) throws {
    var name = Array(text.utf8)
    if name.first == UInt8(ascii: "@") { name[0] = 0 }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    // SAFETY: no name is longer than the path of the address.
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { bytes in
      for (index, byte) in name.enumerated() { unsafe bytes[index] = byte }
    }
    // SAFETY: the address lives for the call.
    let result = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        unsafe bind(number, pointer, socklen_t(2 + name.count))
      }
    }
    guard result == 0 else { throw POSIXError(.EADDRINUSE) }
  }

  deinit { close(number) }

  /// Returns the next message, or nil if there is none.
  package func next() -> String? {
    var bytes = [UInt8](repeating: 0, count: 4096)
    // SAFETY: the buffer belongs to the array.
    let count = unsafe bytes.withUnsafeMutableBytes {
      unsafe recv(number, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT))
    }
    return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
  }
}
