// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A directory that is removed at the end of its owner's life.
final class Temporary {
  let path = FileManager.default.temporaryDirectory.appending(path: "sluice-test-\(UUID().uuidString)").path

  init() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }  // a failure only leaves files behind

  /// Creates a file and returns its path.
  func file(_ name: String, _ bytes: [UInt8] = []) throws -> String {
    try Data(bytes).write(to: URL(filePath: "\(path)/\(name)"))
    return "\(path)/\(name)"
  }

  /// Creates a symbolic link and returns its path.
  func link(_ name: String, to target: String) throws -> String {
    try FileManager.default.createSymbolicLink(atPath: "\(path)/\(name)", withDestinationPath: target)
    return "\(path)/\(name)"
  }
}
