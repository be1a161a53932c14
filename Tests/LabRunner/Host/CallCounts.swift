// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The numbers of system calls of a program, from the output of `strace -ff -X raw`.
struct CallCounts: Equatable {
  var all = 0
  var ioctls = 0
  /// The number of KVM_RUN calls.
  var runs = 0

  init() {}

  /// Counts the calls of one thread.
  init(thread text: String) {
    for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
      guard let first = line.first, first >= UInt8(ascii: "_"), first <= UInt8(ascii: "z") else { continue }
      all += 1
      guard line.starts(with: "ioctl(".utf8) else { continue }
      ioctls += 1
      let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2)
      if words.count > 1, words[1].starts(with: "0xae80".utf8) { runs += 1 }
    }
  }

  static func + (one: CallCounts, other: CallCounts) -> CallCounts {
    var sum = one
    sum.all += other.all
    sum.ioctls += other.ioctls
    sum.runs += other.runs
    return sum
  }
}

extension Trial {
  /// Runs a guest under strace, and returns the numbers of its calls.
  func calls(of guest: BenchGuest, within seconds: Int = 180) throws -> CallCounts {
    let directory = context.file("strace-\(UUID().uuidString)")
    try directory.makeDirectory()
    defer { try? directory.removeIfPresent() }  // only a leftover in memory
    _ = try run(
      guest, tracer: ["strace", "-ff", "-X", "raw", "-o", directory.appending(path: "calls").path],
      within: seconds)
    var sum = CallCounts()
    for name in try FileManager.default.contentsOfDirectory(atPath: directory.path) {
      let data = try Data(contentsOf: directory.appending(path: name))
      sum = sum + CallCounts(thread: String(decoding: data, as: UTF8.self))
    }
    return sum
  }
}
