// SPDX-License-Identifier: Apache-2.0

@testable import PCI

/// The configuration space of an invented function, as read from a host.
struct Function {
  var config: [UInt8]
  var bars: [BAR] = []

  /// The offsets of its capabilities.
  static let power = 0x40
  static let message = 0x50
  static let msix = 0x68
  static let express = 0x80
  static let features = 0xC0
  static let vendor = 0xC8
  /// A hidden capability: enhanced allocation (PCI Code and ID Assignment §2).
  static let hidden = 0xE0

  /// Creates an endpoint with every shown capability and one hidden capability.
  init(size: Int = 4096) {
    config = [UInt8](repeating: 0, count: size)
    set(ConfigOffset.vendor, 4, 0x5678_1234)
    set(ConfigOffset.command, 2, 0x0406)
    set(ConfigOffset.status, 2, 0x2010)
    set(ConfigOffset.classRevision, 4, 0x0108_0203)
    set(ConfigOffset.headerType, 1, 0x80)
    set(ConfigOffset.subsystem, 4, 0x9ABC_DEF0)
    set(ConfigOffset.rom, 4, 0xFEC0_0001)
    set(ConfigOffset.interruptLine, 4, 0x0000_010B)
    link([Self.power, Self.message, Self.msix, Self.express, Self.features, Self.vendor, Self.hidden])
    capability(Self.power, CapabilityID.powerManagement, 0x0603)  // D1 and D2
    capability(Self.message, CapabilityID.messageSignaled, 0x0184)  // 4 vectors, 64-bit, maskable
    capability(Self.hidden, 0x14, 0x0000)
    capability(Self.msix, CapabilityID.msix, 0x0003)
    set(Self.msix + 4, 4, 0x0000_2000)
    set(Self.msix + 8, 4, 0x0000_3000)
    capability(Self.express, CapabilityID.express, 0x0002)
    set(Self.express + 4, 4, 0x1000_8002)  // with FLR
    set(Self.express + 0xC, 4, 0x0041_2C41)
    capability(Self.features, CapabilityID.advancedFeatures, 0x0306)  // TP and FLR
    capability(Self.vendor, CapabilityID.vendorSpecific, 0x0010)
    for offset in Self.vendor + 4..<Self.vendor + 16 { config[offset] = UInt8(offset) }
  }

  /// The guest's view of the function.
  var space: ConfigSpace { ConfigSpace(config, bars: bars) }

  mutating func set(_ offset: Int, _ width: Int, _ value: UInt32) {
    config.set(value, at: offset, width: width)
  }

  /// Links capabilities into a chain.
  mutating func link(_ offsets: [Int]) {
    var pointer = ConfigOffset.capabilities
    for offset in offsets {
      set(pointer, 1, UInt32(offset))
      pointer = offset + 1
    }
    set(pointer, 1, 0)
  }

  /// Writes a capability's ID and the 16 bits after its next pointer.
  mutating func capability(_ offset: Int, _ id: UInt8, _ bits: UInt32) {
    set(offset, 1, UInt32(id))
    set(offset + 2, 2, bits)
  }

  /// Writes an extended capability.
  mutating func extended(_ offset: Int, _ id: UInt16, next: Int, body: UInt32 = 0) {
    set(offset, 4, UInt32(id) | 1 << 16 | UInt32(next) << 20)
    set(offset + 4, 4, body)
  }
}

extension ConfigSpace {
  /// Returns the value that a guest reads if the device has a function's bytes.
  func read(_ offset: Int, _ width: Int, of function: Function) -> UInt32 {
    read(offset: offset, width: width, device: function.config.number(at: offset, width: width))
  }

  /// Returns the offsets in the guest's capability chain.
  func chain(of function: Function) -> [Int] {
    var offsets: [Int] = []
    var at = Int(read(ConfigOffset.capabilities, 1, of: function))
    while at != 0, offsets.count < 64 {
      offsets.append(at)
      at = Int(read(at + 1, 1, of: function))
    }
    return offsets
  }

  /// Returns the offsets and IDs in the guest's chain of extended capabilities.
  func extendedChain(of function: Function) -> [[Int]] {
    var found: [[Int]] = []
    var at = ConfigOffset.extended
    while at != 0, found.count < 64 {
      let header = read(at, 4, of: function)
      found.append([at, Int(header & 0xFFFF)])
      at = Int(header >> 20)
    }
    return found
  }
}

extension ConfigSpace {
  /// Performs a write and returns its effects.
  mutating func effects(offset: Int, width: Int, _ value: UInt32) -> [Effect] {
    Array(write(offset: offset, width: width, value))
  }
}

extension MSIState {
  /// Returns the changes of vectors since an earlier state.
  func changes(from old: MSIState) -> [VectorTransition] {
    (0..<max(count, old.count)).compactMap { change(of: $0, from: old) }
  }
}

extension MSIXTable {
  /// Sets the control bits and returns the changes of vectors.
  mutating func changes(enabled: Bool, functionMasked: Bool) -> [VectorTransition] {
    guard let maySend = setControl(enabled: enabled, functionMasked: functionMasked) else { return [] }
    return entries.indices.filter { !isMasked($0) }.map { maySend ? .unmasked($0) : .masked($0) }
  }
}

/// A random number generator with a seed (SplitMix64), so that a failure can be repeated.
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
