// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Files of /proc that come in pieces shorter than what was asked for, which `String(contentsOfFile:)` takes for
/// their end.
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
