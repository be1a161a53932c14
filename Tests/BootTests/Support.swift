// SPDX-License-Identifier: Apache-2.0

import Foundation
import GuestMemory
import Linux
import Testing

@testable import Boot

/// A temporary directory for one test. It is removed with its owner.
final class Scratch {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory.appendingPathComponent(
        "boot-tests-\(UUID().uuidString)"
      ).path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }  // a leftover directory is harmless

  /// Writes a file and returns its path.
  func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = "\(path)/\(name)"
    try OwnedDescriptor(opening: file, .replace).write(bytes)
    return file
  }

  /// Creates a sparse file of zeros and returns its path.
  func sparse(_ name: String, size: UInt64) throws -> String {
    let file = try self.file(name, [])
    let handle = try #require(FileHandle(forWritingAtPath: file))
    try handle.truncate(atOffset: size)
    try handle.close()
    return file
  }
}

extension GuestMemory {
  /// Creates RAM of `count` MiB.
  static func mebibytes(_ count: UInt64) throws -> GuestMemory { try GuestMemory(size: count << 20) }
}

/// Loads a kernel. Returns the error, or nil if it loads.
func failure(
  _ path: String, initrd: String? = nil, commandLine: String = "", memory: GuestMemory
) -> BootError? {
  do throws(BootError) {
    _ = try KernelImage.load(path: path, initrd: initrd, commandLine: commandLine, memory: memory)
    return nil
  } catch { return error }
}

/// A seeded random number generator (SplitMix64). The seed makes a failure reproducible.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }
}
