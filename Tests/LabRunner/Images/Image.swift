// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A file of known content: the same seed gives the same bytes on every machine.
struct Image {
  let name: String
  let bytes: Int
  let seed: UInt64

  static let bigDrive = Image(name: "nvme0.img", bytes: 64 << 20, seed: 0x51)
  static let smallDrive = Image(name: "nvme1.img", bytes: 16 << 20, seed: 0x52)
  static let stick = Image(name: "stick.img", bytes: 8 << 20, seed: 0x53)
  static let download = Image(name: "download.bin", bytes: 4 << 20, seed: 0x54)
  static let disk = Image(name: "disk.img", bytes: 8 << 20, seed: 0x55)
  static let scsiDisk = Image(name: "disk1.img", bytes: 4 << 20, seed: 0x5A)
  static let virtualDrive = Image(name: "nvme2.img", bytes: 16 << 20, seed: 0x56)
  static let messageStick = Image(name: "stick1.img", bytes: 8 << 20, seed: 0x57)
  static let scratchDrive = Image(name: "nvme3.img", bytes: 16 << 20, seed: 0x58)
  static let hotDrive = Image(name: "nvme5.img", bytes: 32 << 20, seed: 0x5B)
  static let benchDrive = Image(name: "nvme4.img", bytes: 64 << 20, seed: 0x59)

  /// Returns the SHA-256 of the first bytes of the file.
  func sum(ofFirst count: Int, in directory: URL) throws -> String {
    let path = directory.appending(path: name).path
    return String(try Command.output(["sh", "-c", "head -c \(count) '\(path)' | sha256sum"]).prefix(64))
  }

  /// Creates the file again, because a guest may have written to it, and returns its SHA-256.
  func make(in directory: URL) throws -> String {
    var state = seed
    var data = Data(capacity: bytes)
    for _ in 0..<(bytes / 8) {
      // SplitMix64
      state &+= 0x9e37_79b9_7f4a_7c15
      var word = state
      word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
      word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
      word ^= word >> 31
      unsafe withUnsafeBytes(of: word.littleEndian) { unsafe data.append(contentsOf: $0) }
    }
    let file = directory.appending(path: name)
    try data.write(to: file)
    return String(try Command.output(["sha256sum", file.path]).prefix(64))
  }
}
