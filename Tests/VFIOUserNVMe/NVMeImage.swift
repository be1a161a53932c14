// SPDX-License-Identifier: Apache-2.0

import Linux

/// The file that has the blocks of the namespace.
struct NVMeImage: ~Copyable {
  /// Bytes of a block.
  static let blockSize: UInt64 = 512

  private let file: OwnedDescriptor
  /// The number of blocks.
  let blocks: UInt64

  /// Opens a file. The bytes after the last whole block are not used.
  init(_ path: String) throws(KernelError) {
    let file = try OwnedDescriptor(opening: path, .readWrite)
    blocks = try file.size(of: path) / Self.blockSize
    self.file = file
  }

  /// True if the blocks are in the image.
  func contains(_ block: UInt64, _ count: UInt64) -> Bool { block <= blocks && count <= blocks - block }

  /// Reads bytes from a block on. Returns nil if the file does not have them.
  func read(_ block: UInt64, _ count: Int) -> [UInt8]? {
    guard let bytes = try? file.read(count, at: block * Self.blockSize), bytes.count == count else {
      return nil
    }
    return bytes
  }

  /// Writes bytes from a block on. Returns false if the file refuses.
  func write(_ block: UInt64, _ bytes: [UInt8]) -> Bool {
    (try? writeBytes(file.number, bytes[...], at: block * Self.blockSize)) != nil
  }

  /// Writes the data to the file's device. Returns false if the file refuses.
  func flush() -> Bool { (try? file.synchronizeData()) != nil }
}
