// SPDX-License-Identifier: Apache-2.0

import GuestMemory
import Testing

@testable import Boot

@Suite("ACPI tables")
struct ACPITests {
  static let window: Range<UInt64> = 0x80_0000_0000..<0x100_0000_0000

  static let devices = [
    PlatformDevice(name: "COM1", identity: "PNP0501", number: 0, ports: 0x3F8...0x3FF, gsi: 4),
    PlatformDevice(name: "PEVT", identity: "QEMU0001", ports: 0x505...0x505),
  ]

  static func tables(cpus: Int = 4, lastBus: UInt8 = 0) throws -> ACPI.Tables {
    try ACPI.Tables(Platform(cpus: cpus, pciWindow64: window, lastBus: lastBus, devices: devices))
  }

  @Test(
    "every table has its signature and length, and the sum of its bytes is zero", arguments: [1, 4, 255])
  func headers(cpus: Int) throws {
    for table in try Self.tables(cpus: cpus).all {
      #expect(
        String(decoding: table.bytes.prefix(table.signature.utf8.count), as: UTF8.self) == table.signature)
      #expect(table.bytes.reduce(0, &+) == 0)
      if table.signature != "RSD PTR " {
        #expect(table.bytes.little(UInt32.self, at: 4) == UInt32(table.bytes.count))
      }
    }
  }

  @Test("tables do not overlap, are aligned and end below 1 MiB", arguments: [1, 255])
  func layout(cpus: Int) throws {
    let all = try Self.tables(cpus: cpus).all
    for (table, next) in zip(all, all.dropFirst()) {
      #expect(table.address + UInt64(table.bytes.count) <= next.address)
    }
    for table in all {
      #expect(table.address.rawValue % 16 == 0)
      #expect(table.address >= PlatformLayout.rsdp)
      #expect(table.address + UInt64(table.bytes.count) <= PlatformLayout.acpiEnd)
    }
  }

  @Test("every table in guest RAM is reachable from the RSDP")
  func walk() throws {
    let memory = try GuestMemory.mebibytes(64)
    let rsdp = try ACPI.install(Platform(cpus: 2, pciWindow64: Self.window), in: memory)
    #expect(rsdp == GuestAddress(0xE_0000))
    #expect(try memory.read(8, at: rsdp) == Array("RSD PTR ".utf8))
    #expect(try memory.read(20, at: rsdp).reduce(0, &+) == 0)
    let xsdt = GuestAddress(try memory.load(UInt64.self, at: rsdp + 24))
    let length = UInt64(try memory.load(UInt32.self, at: xsdt + 4))
    var found: [String] = []
    for offset in stride(from: 36, to: length, by: 8) {
      let table = GuestAddress(try memory.load(UInt64.self, at: xsdt + offset))
      found.append(String(decoding: try memory.read(4, at: table), as: UTF8.self))
      if found.last == "FACP" {
        let dsdt = GuestAddress(try memory.load(UInt64.self, at: table + 140))
        #expect(try memory.read(4, at: dsdt) == Array("DSDT".utf8))
        #expect(try memory.load(UInt32.self, at: table + 40) == UInt32(dsdt.rawValue))
      }
    }
    #expect(found == ["FACP", "APIC", "MCFG"])
  }

  @Test("the FADT describes hardware-reduced ACPI with sleep and reset registers, without PC hardware")
  func fadt() throws {
    let bytes = try Self.tables().fadt.bytes
    #expect(bytes.count == 276)
    #expect(bytes[8] == 6 && bytes[131] == 5)
    #expect(bytes.little(UInt32.self, at: 112) == 0x10_1431)
    #expect(bytes.little(UInt16.self, at: 109) == 0x34)
    #expect(Array(bytes[116..<129]) == [1, 8, 0, 1, 0xF9, 0x0C, 0, 0, 0, 0, 0, 0, 6])
    #expect(Array(bytes[244..<256]) == [1, 8, 0, 1, 0x00, 6, 0, 0, 0, 0, 0, 0])
    #expect(Array(bytes[256..<268]) == [1, 8, 0, 1, 0x01, 6, 0, 0, 0, 0, 0, 0])
    #expect(bytes[46..<109].allSatisfy { $0 == 0 }, "the FADT has no PM registers and no SCI")
    #expect(PlatformLayout.powerOffValue == 0x34)
  }

  @Test("the MADT has one local APIC per CPU and one I/O APIC", arguments: [1, 4, 255])
  func madt(cpus: Int) throws {
    let bytes = try Self.tables(cpus: cpus).madt.bytes
    #expect(bytes.little(UInt32.self, at: 36) == 0xFEE0_0000)
    var offset = 44
    var identities: [UInt8] = []
    var ioapics = 0
    while offset < bytes.count {
      switch bytes[offset] {
      case 0:
        #expect(bytes[offset + 2] == bytes[offset + 3])
        #expect(bytes.little(UInt32.self, at: offset + 4) == 1)
        identities.append(bytes[offset + 3])
      case 1:
        #expect(bytes.little(UInt32.self, at: offset + 4) == 0xFEC0_0000)
        #expect(bytes.little(UInt32.self, at: offset + 8) == 0)
        ioapics += 1
      default: #expect(bytes[offset] == 4)
      }
      offset += Int(bytes[offset + 1])
    }
    #expect(offset == bytes.count)
    #expect(identities == (0..<cpus).map { UInt8($0) })
    #expect(ioapics == 1)
  }

  @Test("the MCFG places bus 0 at the ECAM address")
  func mcfg() throws {
    let bytes = try Self.tables().mcfg.bytes
    #expect(bytes.count == 60)
    #expect(bytes.little(UInt64.self, at: 44) == 0xE000_0000)
    #expect(Array(bytes[52..<60]) == [0, 0, 0, 0, 0, 0, 0, 0])
  }

  @Test("a machine with no CPUs or more than 255 is refused", arguments: [-1, 0, 256, 100_000])
  func cpus(count: Int) {
    #expect(throws: BootError.self) { try Self.tables(cpus: count) }
  }

  @Test("a 64-bit window below 4 GiB or over RAM is refused, and an empty window is omitted")
  func window() throws {
    let memory = try GuestMemory.mebibytes(5120)
    for window: Range<UInt64> in [0xF000_0000..<0x1_0000_0000, 0x1_4000_0000..<0x2_0000_0000] {
      #expect(throws: BootError.self) {
        try ACPI.install(Platform(cpus: 1, pciWindow64: window), in: memory)
      }
    }
    let none = try ACPI.Tables(Platform(cpus: 1, pciWindow64: 0..<0, devices: Self.devices)).dsdt.bytes
    #expect(none.count == (try Self.tables(cpus: 1).dsdt.bytes.count) - 46)
  }

  @Test("INTx pins are swizzled over GSIs 16 to 23")
  func interruptLines() {
    #expect(PlatformLayout.gsi(slot: 0, pin: 0) == 16)
    #expect(PlatformLayout.gsi(slot: 1, pin: 0) == 17)
    #expect(PlatformLayout.gsi(slot: 1, pin: 3) == 20)
    #expect(PlatformLayout.gsi(slot: 31, pin: 3) == 18)
  }

  @Test("fixed addresses do not overlap")
  func ranges() {
    let ranges: [Range<UInt64>] = [
      0x500..<0x520,
      PlatformLayout.pvhStartInfo.rawValue..<PlatformLayout.pvhStartInfo.rawValue + 0x1000,
      PlatformLayout.bootParameters.rawValue..<PlatformLayout.bootParameters.rawValue + 0x1000,
      PlatformLayout.pageTables.rawValue..<PlatformLayout.pageTables.rawValue
        + UInt64(PageTables.bytes(at: PlatformLayout.pageTables).count),
      PlatformLayout.commandLine.rawValue..<PlatformLayout.commandLine.rawValue
        + UInt64(PlatformLayout.commandLineRoom),
      PlatformLayout.rsdp.rawValue..<PlatformLayout.acpiEnd.rawValue,
      PlatformLayout.pciWindow32, PlatformLayout.ecam,
      PlatformLayout.ioapic.rawValue..<PlatformLayout.ioapic.rawValue + 0x1000,
      PlatformLayout.localAPIC.rawValue..<PlatformLayout.localAPIC.rawValue + 0x1000,
    ]
    for (range, next) in zip(ranges, ranges.dropFirst()) {
      #expect(range.upperBound <= next.lowerBound)
    }
  }
}
