// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The functions and their original BARs, in words that all processors share.
enum Table {
  static let functions: UInt32 = 8
  static let seed = SharedWord.first
  static let stop = SharedWord.first + 1
  static let count = SharedWord.first + 2
  /// GPA of the ECAM.
  static let ecam = SharedWord.first + 3
  /// The index of the count of `event` on `processor`. Each processor has separate counts.
  static func events(_ processor: UInt32, _ event: UInt32) -> UInt32 { 192 + processor * 16 + event }
  static func stopped(_ processor: UInt32) -> UInt32 { 8 + processor }

  private static func word(_ function: UInt32, _ index: UInt32) -> UInt32 { 32 + function * 20 + index }

  /// The original state of a function's BAR.
  struct Slot {
    let index: UInt8
    let isMemory: Bool
    let is64Bit: Bool
    let size: UInt64
    let home: UInt64
  }

  /// A function with the offsets of its capabilities, or 0 for a missing capability.
  struct Function {
    let number: UInt32
    let slot: UInt8
    /// True if a random value in a register may end QEMU. The guest then only reads registers, and no store
    /// goes to addresses that this function's BARs may have.
    let isFragile: Bool
    /// True if random values in its registers may start DMA. Its Bus Master Enable then stays off.
    let hasEngine: Bool
    let msi: UInt16
    let msix: UInt16
    let power: UInt16
    let express: UInt16
    let features: UInt16
    let hasWideMessage: Bool

    /// Offset in the ECAM.
    var base: UInt64 { UInt64(slot) << 15 }

    /// Returns the BAR with an index, or nil if the function has none.
    func bar(_ index: UInt8) -> Slot? {
      let word = shared_load(Table.word(number, 2 + UInt32(index)))
      guard word != 0 else { return nil }
      return Slot(
        index: index, isMemory: word & 1 != 0, is64Bit: word & 2 != 0, size: 1 << (word >> 4 & 63),
        home: shared_load(Table.word(number, 8 + UInt32(index))))
    }

    /// Returns the GPA or port that a processor last wrote to the BAR.
    func address(_ index: UInt8) -> UInt64 { shared_load(Table.word(number, 14 + UInt32(index))) }
    func setAddress(_ index: UInt8, _ address: UInt64) {
      shared_store(Table.word(number, 14 + UInt32(index)), address)
    }
  }

  static func function(_ number: UInt32) -> Function {
    let first = shared_load(word(number, 0))
    let second = shared_load(word(number, 1))
    return Function(
      number: number, slot: UInt8(truncatingIfNeeded: first), isFragile: first & 1 << 8 != 0,
      hasEngine: first & 1 << 9 != 0, msi: UInt16(second & 0xFF), msix: UInt16(second >> 8 & 0xFF),
      power: UInt16(second >> 16 & 0xFF), express: UInt16(second >> 24 & 0xFF),
      features: UInt16(second >> 32 & 0xFF), hasWideMessage: first & 1 << 10 != 0)
  }

  /// Returns function 0 of a slot, or nil if the table has none.
  static func function(inSlot slot: UInt8) -> Function? {
    for number in 0..<UInt32(truncatingIfNeeded: shared_load(count)) {
      let one = function(number)
      if one.slot == slot { return one }
    }
    return nil
  }

  /// Fills the table before the other processors start.
  static func prepare() {
    var number: UInt32 = 0
    PCIBus.forEachFunction { function in
      guard function.slot > 0, function.function == 0, number < functions else { return }
      add(function, number)
      number += 1
    }
    shared_store(count, UInt64(number))
  }

  private static func add(_ function: PCIFunction, _ number: UInt32) {
    let identity = function.load32(0)
    // edu, ivshmem, pci-testdev and NVMe tolerate any value in their registers.
    let isNVMe = function.classCode == 0x01_0802
    let isSturdy = identity == 0x11E8_1234 || identity == 0x1110_1AF4 || identity == 0x0005_1B36 || isNVMe
    let msi = function.capability(0x05) ?? 0
    let isWide = msi != 0 && function.load16(msi + 2) & 1 << 7 != 0
    var first = UInt64(function.slot)
    if !isSturdy { first |= 1 << 8 }
    if isNVMe { first |= 1 << 9 }
    if isWide { first |= 1 << 10 }
    shared_store(word(number, 0), first)
    var second = UInt64(msi)
    second |= UInt64(function.capability(0x11) ?? 0) << 8
    second |= UInt64(function.capability(0x01) ?? 0) << 16
    second |= UInt64(function.capability(0x10) ?? 0) << 24
    second |= UInt64(function.capability(0x13) ?? 0) << 32
    shared_store(word(number, 1), second)
    BAR.forEach(function) { bar in
      if bar.isMemory { _ = PageMap.map(bar.address, size: bar.size + 4096) }
      var shift: UInt64 = 0
      while 1 << shift < bar.size { shift += 1 }
      let index = UInt32(bar.index)
      shared_store(
        word(number, 2 + index), (bar.isMemory ? 1 : 0) | (bar.is64Bit ? 2 : 0) | 4 | shift << 4)
      shared_store(word(number, 8 + index), bar.address)
      shared_store(word(number, 14 + index), bar.address)
    }
  }
}

/// Pseudo-random numbers from a seed (Steele et al., SplitMix64).
struct Random {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  mutating func next(below limit: UInt64) -> UInt64 { ((next() >> 32) &* limit) >> 32 }

  mutating func chance(_ times: UInt64) -> Bool { next(below: times) == 0 }

  /// Returns 0, all-ones, a single bit, a byte, or any value.
  mutating func value() -> UInt64 {
    switch next(below: 6) {
    case 0: 0
    case 1: .max
    case 2: 1 << next(below: 64)
    case 3: next(below: 256)
    default: next()
    }
  }
}
