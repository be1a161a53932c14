// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The devices, in the order in which the host is told of them.
enum Device {
  static let drive: UInt32 = 0
  static let network: UInt32 = 1
  static let edu: UInt32 = 2
  static let memory: UInt32 = 3
  static let count: UInt32 = 4
}

/// What the processors share.
enum Shared {
  /// The processors that take part.
  static let processors: UInt32 = 4

  static let stop = SharedWord.first
  static let seed = SharedWord.first + 1

  /// Where a device's register is.
  static func address(_ device: UInt32) -> UInt32 { 8 + device * 8 }
  /// What the register reads while memory is on.
  static func value(_ device: UInt32) -> UInt32 { 9 + device * 8 }
  /// Even while memory is on and the BAR stays; odd from before a change until after it.
  static func epoch(_ device: UInt32) -> UInt32 { 10 + device * 8 }
  /// Whether the host is doing something to it that Sluice is not told of: a read may give 0 then.
  static func isForeign(_ device: UInt32) -> UInt32 { 11 + device * 8 }
  /// Guest-physical address of BAR 0, for interrupt handlers.
  static func registers(_ device: UInt32) -> UInt32 { 12 + device * 8 }
  /// How many causes the handlers have seen.
  static func causes(_ device: UInt32) -> UInt32 { 13 + device * 8 }

  static func tally(_ processor: UInt32, _ kind: Tally) -> UInt32 { 64 + processor * 16 + kind.rawValue }

  static func isStable(_ device: UInt32) -> Bool { shared_load(epoch(device)) & 1 == 0 }
}

/// What each processor counts.
enum Tally: UInt32 {
  /// Reads that gave the value, and all-ones.
  case values, closed
  /// Reads that gave 0 while the host did something to the device.
  case foreign
  /// Accesses while nothing changed, whose result was therefore certain.
  case certain
  /// Writes of shared memory, with the read after each.
  case writes
  /// Violations: neither value nor all-ones; not the value although certain; memory that has what
  /// was never there, or no more what was.
  case wrong, uncertain, stale
  /// Of the first violation.
  case address, read
  case stopped

  func add(_ processor: UInt32) {
    let word = Shared.tally(processor, self)
    shared_store(word, shared_load(word) + 1)
  }

  /// Of all processors.
  var sum: UInt64 {
    var sum: UInt64 = 0
    for processor in 0..<Shared.processors { sum += shared_load(Shared.tally(processor, self)) }
    return sum
  }
}

/// Numbers that follow from a seed (xorshift64*).
struct Random {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next(below limit: UInt64) -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return (state &* 0x2545_F491_4F6C_DD1D) >> 33 % limit
  }
}
