// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The numbers of the devices. Requests to the host use the same numbers.
enum Device {
  static let drive: UInt32 = 0
  static let network: UInt32 = 1
  static let edu: UInt32 = 2
  static let memory: UInt32 = 3
  static let count: UInt32 = 4
}

/// Indices of the words that the processors share.
enum Shared {
  /// The number of processors.
  static let processors: UInt32 = 4

  static let stop = SharedWord.first
  static let seed = SharedWord.first + 1

  /// The GPA of a device's register.
  static func address(_ device: UInt32) -> UInt32 { 8 + device * 8 }
  /// The value of the register while memory is on.
  static func value(_ device: UInt32) -> UInt32 { 9 + device * 8 }
  /// The epoch of a device: odd during a change, even while memory is on and the BAR keeps its address.
  static func epoch(_ device: UInt32) -> UInt32 { 10 + device * 8 }
  /// Nonzero while the host changes the device without notice to Sluice. A read may then return 0.
  static func isChangedByHost(_ device: UInt32) -> UInt32 { 11 + device * 8 }
  /// Guest-physical address of BAR 0, for interrupt handlers.
  static func registers(_ device: UInt32) -> UInt32 { 12 + device * 8 }
  /// The number of causes that the handlers have seen.
  static func causes(_ device: UInt32) -> UInt32 { 13 + device * 8 }

  static func tally(_ processor: UInt32, _ kind: Tally) -> UInt32 { 64 + processor * 16 + kind.rawValue }

  static func isStable(_ device: UInt32) -> Bool { shared_load(epoch(device)) & 1 == 0 }
}

/// The counts of each processor.
enum Tally: UInt32 {
  /// Reads that returned the value, and reads that returned all-ones.
  case values, closed
  /// Reads that returned 0 while the host changed the device.
  case zeroReads
  /// Accesses whose result was certain, because nothing changed during them.
  case certain
  /// Writes of shared memory, each with a read after it.
  case writes
  /// Violations: reads of neither the value nor all-ones; certain reads of another value; words of shared
  /// memory that have a value that was never written, or an outdated value.
  case wrong, uncertain, stale
  /// The address and the read value of the first violation.
  case address, read
  case stopped

  func add(_ processor: UInt32) {
    let word = Shared.tally(processor, self)
    shared_store(word, shared_load(word) + 1)
  }

  /// The sum over all processors.
  var sum: UInt64 {
    var sum: UInt64 = 0
    for processor in 0..<Shared.processors { sum += shared_load(Shared.tally(processor, self)) }
    return sum
  }
}

/// Pseudo-random numbers from a seed (xorshift64*).
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
