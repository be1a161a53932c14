// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

@Suite struct ConfigFuzzTests {
  /// The read-only bytes of ``Function``: identity, header type, ROM, list, capability headers and fixed
  /// fields of capabilities.
  private static let readOnly: [Range<Int>] = [
    0..<4, 8..<12, 0xD..<0x10, 0x28..<0x3C, 0x3D..<0x44, 0x50..<0x52, 0x53..<0x54, 0x64..<0x68, 0x68..<0x6A,
    0x6C..<0x74, 0x80..<0x88, 0x8C..<0x94, 0xC0..<0xC6, 0xC8..<0xCA, 0xE0..<0x104,
  ]

  @Test("random writes neither change nor forward a read-only byte", arguments: [1, 2, 3] as [UInt64])
  func readOnly(_ seed: UInt64) {
    var function = Function()
    function.bars = [
      BAR(index: 0, kind: .memory32, size: 4096),
      BAR(index: 2, kind: .memory64, size: 1 << 33),
    ]
    function.extended(0x100, ExtendedCapabilityID.errorReporting, next: 0x200)
    function.extended(0x200, 0x0010, next: 0)
    var space = function.space
    let fixed = Self.readOnly.flatMap { Array($0) }
    let before = fixed.map { space.read($0, 1, of: function) }
    var generator = SeededGenerator(state: seed)
    for _ in 0..<20_000 {
      let width = 1 << Int.random(in: 0...2, using: &generator)
      // Half of the writes are limited to the first 256 bytes.
      let end = Bool.random(using: &generator) ? 256 : 4200
      let offset = Int.random(in: 0..<end, using: &generator)
      let value = UInt32.random(in: 0...UInt32.max, using: &generator)
      for effect in space.effects(offset: offset, width: width, value) {
        guard case .forward(let offset, let width, _) = effect else { continue }
        for byte in offset..<offset + width where fixed.contains(byte) {
          Issue.record("a write of \(value) at \(offset) is forwarded to the device at \(byte)")
        }
      }
    }
    let after = fixed.map { space.read($0, 1, of: function) }
    #expect(before == after)
    #expect(space.read(ConfigOffset.bar0, 4, of: function) & 0xFFF == 0)
    #expect(space.read(ConfigOffset.bar0 + 8, 4, of: function) == 4)
    #expect(space.read(ConfigOffset.bar0 + 12, 4, of: function) & 1 == 0)
  }

  @Test("Sluice does not trap on any configuration space of a host", arguments: [256, 4096])
  func hostile(_ size: Int) {
    var generator = SeededGenerator(state: 7)
    let ids: [UInt8] = [1, 3, 5, 9, 0x10, 0x11, 0x13]
    var shown = 0
    for _ in 0..<300 {
      var config = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
      config[ConfigOffset.status] |= 0x10
      config[ConfigOffset.capabilities] = UInt8.random(in: 0x40...0xFF, using: &generator)
      // Known capability IDs are at every multiple of 4, so that the chain finds them.
      for offset in stride(from: 0x40, to: 256, by: 4) {
        config[offset] = ids.randomElement(using: &generator) ?? 1
      }
      let sizes: [UInt64] = (0..<6).map { _ in 1 << UInt64.random(in: 0..<64, using: &generator) }
      var space = ConfigSpace(config, bars: BAR.decode(config, sizes: sizes))
      shown += space.capabilities.shown.count
      for _ in 0..<200 {
        let width = 1 << Int.random(in: 0...2, using: &generator)
        let offset = Int.random(in: 0..<4200, using: &generator)
        let value = UInt32.random(in: 0...UInt32.max, using: &generator)
        for effect in space.effects(offset: offset, width: width, value) {
          guard case .forward(let at, let count, _) = effect else { continue }
          #expect(at >= offset && at + count <= offset + width)
        }
        let ones = UInt32.max >> UInt32(32 - width * 8)
        let read = space.read(offset: offset, width: width, device: value & ones)
        #expect(read <= ones)
      }
    }
    #expect(shown > 300, "the chains had capabilities")
  }
}
