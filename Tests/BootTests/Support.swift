// SPDX-License-Identifier: Apache-2.0

import Foundation
import GuestMemory
import Linux
import Testing

@testable import Boot

/// A directory of the test's own, removed when its owner goes.
final class Scratch {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory.appendingPathComponent(
        "boot-tests-\(UUID().uuidString)"
      ).path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }  // left behind is harmless

  /// Writes a file and returns its path.
  func file(_ name: String, _ bytes: [UInt8]) throws -> String {
    let file = "\(path)/\(name)"
    try OwnedDescriptor(opening: file, .replace).write(bytes)
    return file
  }

  /// Makes a file of zeros that takes no room on disk.
  func sparse(_ name: String, size: UInt64) throws -> String {
    let file = try self.file(name, [])
    let handle = try #require(FileHandle(forWritingAtPath: file))
    try handle.truncate(atOffset: size)
    try handle.close()
    return file
  }
}

extension GuestMemory {
  /// RAM of so many MiB.
  static func mebibytes(_ count: UInt64) throws -> GuestMemory { try GuestMemory(size: count << 20) }
}

/// The error that loading a kernel gives.
func failure(
  _ path: String, initrd: String? = nil, commandLine: String = "", memory: GuestMemory
) -> BootError? {
  do throws(BootError) {
    _ = try KernelImage.load(path: path, initrd: initrd, commandLine: commandLine, memory: memory)
    return nil
  } catch { return error }
}

/// A random number generator with a seed, so that a failure can be repeated (SplitMix64).
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
