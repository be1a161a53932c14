// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PCI

@Suite struct MSIXTableTests {
  private static let layout: MSIXTable.Layout = {
    let function = Function()
    let capability = Capability(id: 0x11, offset: Function.msix, size: 12)
    return MSIXTable.Layout(function.config, capability: capability)
  }()

  /// Returns an enabled table with vector 1 unmasked.
  private static func active() -> MSIXTable {
    var table = MSIXTable(layout)
    _ = table.write(offset: 16, width: 8, 0xFEE0_1000)
    _ = table.write(offset: 24, width: 8, 0x31)
    _ = table.setControl(enabled: true, functionMasked: false)
    return table
  }

  @Test("the capability describes the layout")
  func layout() {
    let layout = Self.layout
    #expect(layout.count == 4)
    #expect(layout.table(in: 0) == 0x2000..<0x2040)
    #expect(layout.pending(in: 0) == 0x3000..<0x3008)
    #expect(layout.table(in: 1) == nil && layout.pending(in: 1) == nil)
    var function = Function()
    function.set(Function.msix + 2, 2, 0x87FF)
    function.set(Function.msix + 4, 4, 0x0001_0004)
    function.set(Function.msix + 8, 4, 0x0000_8005)
    let large = MSIXTable.Layout(
      function.config, capability: Capability(id: 0x11, offset: Function.msix, size: 12))
    #expect(large.count == 2048)
    #expect(large.table(in: 4) == 0x1_0000..<0x1_8000)
    #expect(large.pending(in: 5) == 0x8000..<0x8100)
  }

  @Test("all vectors are masked and inactive at the start")
  func start() {
    var table = MSIXTable(Self.layout)
    #expect(table.entries == [MSIXTable.Entry](repeating: .init(), count: 4))
    #expect(table.read(offset: 12, width: 4) == 1)
    #expect(table.changes(enabled: true, functionMasked: false) == [])
    #expect((0..<4).allSatisfy { !table.isActive($0) })
  }

  @Test("a vector is reported once when it is unmasked or masked")
  func mask() {
    var table = Self.active()
    #expect(table.write(offset: 12, width: 4, 0) == .unmasked(0))
    #expect(table.write(offset: 12, width: 4, 0) == nil)
    #expect(table.write(offset: 12, width: 4, 1) == .masked(0))
    #expect(table.write(offset: 12, width: 4, 3) == nil)
    #expect(table.read(offset: 12, width: 4) == 1, "reserved bits of the control word stay 0")
  }

  @Test("a changed message is reported only while the vector may send")
  func message() {
    var table = Self.active()
    #expect(table.isActive(1))
    #expect(table.write(offset: 24, width: 4, 0x32) == .message(1))
    #expect(table.write(offset: 24, width: 4, 0x32) == nil)
    #expect(table.write(offset: 16, width: 4, 0xFEE0_2003) == .message(1))
    #expect(table.write(offset: 20, width: 4, 1) == .message(1))
    #expect(table.entries[1] == MSIXTable.Entry(address: 0x1_FEE0_2000, data: 0x32, control: 0))
    #expect(table.write(offset: 0, width: 4, 0xFEE0_0000) == nil)
    #expect(table.write(offset: 28, width: 4, 1) == .masked(1))
    #expect(table.write(offset: 24, width: 4, 0x33) == nil)
    #expect(table.write(offset: 28, width: 4, 0) == .unmasked(1))
    #expect(table.entries[1].data == 0x33)
  }

  @Test("8-byte accesses reach both words")
  func eightBytes() {
    var table = Self.active()
    #expect(table.write(offset: 32, width: 8, 0x1_FEE0_3000) == nil)
    #expect(table.write(offset: 40, width: 8, 0x44) == .unmasked(2))
    #expect(table.read(offset: 32, width: 8) == 0x1_FEE0_3000)
    #expect(table.read(offset: 40, width: 8) == 0x44)
    #expect(table.read(offset: 36, width: 4) == 1)
    #expect(table.write(offset: 40, width: 8, 1 << 32 | 0x55) == .masked(2))
    #expect(table.entries[2].data == 0x55)
  }

  @Test(
    "writes of other widths or alignments are dropped and reads return all-ones",
    arguments: [(0, 1), (0, 2), (4, 8), (2, 4), (3, 4), (12, 8)] as [(UInt64, Int)])
  func badWidth(_ offset: UInt64, _ width: Int) {
    var table = Self.active()
    let before = table.entries
    #expect(table.write(offset: 16 + offset, width: width, 0) == nil)
    #expect(table.entries == before)
    #expect(table.read(offset: 16 + offset, width: width) == .max)
  }

  @Test("accesses beyond the last vector read all-ones and are dropped")
  func beyond() {
    var table = Self.active()
    #expect(table.read(offset: 64, width: 4) == 0xFFFF_FFFF)
    #expect(table.read(offset: 64, width: 8) == .max)
    #expect(table.write(offset: 64, width: 8, 0) == nil)
  }

  @Test("the function mask masks all vectors, and its end unmasks the vectors whose mask bit is clear")
  func functionMask() {
    var table = Self.active()
    _ = table.write(offset: 60, width: 4, 0)
    #expect(table.changes(enabled: true, functionMasked: true) == [.masked(1), .masked(3)])
    #expect(table.write(offset: 28, width: 4, 1) == nil)
    #expect(table.write(offset: 12, width: 4, 0) == nil)
    #expect(table.changes(enabled: true, functionMasked: false) == [.unmasked(0), .unmasked(3)])
    #expect(table.changes(enabled: true, functionMasked: false) == [])
  }

  @Test("disabling MSI-X masks the active vectors and keeps the table")
  func disable() {
    var table = Self.active()
    #expect(table.changes(enabled: false, functionMasked: false) == [.masked(1)])
    #expect(table.changes(enabled: false, functionMasked: true) == [])
    #expect(table.entries[1].data == 0x31)
    #expect(table.changes(enabled: true, functionMasked: false) == [.unmasked(1)])
  }
}
