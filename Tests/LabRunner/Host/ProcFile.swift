// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Files of /proc. A read may return fewer bytes than requested before the end of such a file.
///
/// `String(contentsOfFile:)` takes a short read for the end of the file.
enum ProcFile {
  static func text(_ path: String) throws -> String {
    let handle = try FileHandle(forReadingFrom: URL(filePath: path))
    defer { try? handle.close() }  // nothing was written
    var bytes: [UInt8] = []
    while true {
      let piece = Launch.read(handle.fileDescriptor)
      if piece.isEmpty { return String(decoding: bytes, as: UTF8.self) }
      bytes += piece
    }
  }
}
