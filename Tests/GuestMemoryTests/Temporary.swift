// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A directory that goes with its owner.
final class Temporary {
  let path = FileManager.default.temporaryDirectory.appending(path: "sluice-test-\(UUID().uuidString)").path

  init() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }  // of no more use

  /// Makes a file and returns its path.
  func file(_ name: String, _ bytes: [UInt8] = []) throws -> String {
    try Data(bytes).write(to: URL(filePath: "\(path)/\(name)"))
    return "\(path)/\(name)"
  }

  /// Makes a symbolic link and returns its path.
  func link(_ name: String, to target: String) throws -> String {
    try FileManager.default.createSymbolicLink(atPath: "\(path)/\(name)", withDestinationPath: target)
    return "\(path)/\(name)"
  }
}
