// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Boot

/// Debian's ACPI compiler, of the package acpica-tools.
private let iaslPath = "/usr/bin/iasl"

/// What Debian's ACPI compiler makes of the tables.
@Suite(
  "iasl",
  .enabled(if: FileManager.default.isExecutableFile(atPath: iaslPath), "acpica-tools is not installed"))
struct ASLTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Runs iasl and returns its output, errors included.
  func iasl(_ arguments: String...) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: iaslPath)
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: scratch.path)
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: "\(scratch.path)/\(name)")), as: UTF8.self)
  }

  @Test("Every table is disassembled without a complaint", arguments: [1, 4, 255])
  func disassemble(cpus: Int) throws {
    for table in try ACPITests.tables(cpus: cpus).all where table.signature != "RSD PTR " {
      _ = try scratch.file("\(table.signature).aml", table.bytes)
      let (status, output) = try iasl("-d", "\(table.signature).aml")
      #expect(status == 0, "\(output)")
      let complaints = ["Error", "Warning", "Invalid", "incorrect"].filter { output.contains($0) }
      #expect(complaints.isEmpty, "\(table.signature): \(output)")
      #expect(!(try text("\(table.signature).dsl")).contains("ncorrect checksum"))
    }
  }

  @Test("The DSDT survives the way to source and back, without errors or warnings", arguments: [1, 4, 255])
  func roundTrip(cpus: Int) throws {
    let bytes = try ACPITests.tables(cpus: cpus).dsdt.bytes
    _ = try scratch.file("dsdt.aml", bytes)
    #expect(try iasl("-d", "dsdt.aml").status == 0)
    let (status, output) = try iasl("-p", "again", "dsdt.dsl")
    #expect(status == 0, "\(output)")
    #expect(output.contains(" 0 Errors, 0 Warnings"), "\(output)")
    let again = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(scratch.path)/again.aml")))
    // The header names its compiler; the rest is byte for byte the same.
    let isSame = again.dropFirst(36) == bytes.dropFirst(36)
    #expect(isSame)
  }

  @Test("The source has the devices with the resources that the layout says")
  func source() throws {
    _ = try scratch.file("dsdt.aml", try ACPITests.tables(cpus: 2).dsdt.bytes)
    _ = try iasl("-d", "dsdt.aml")
    let source = try text("dsdt.dsl")
    for expected in [
      "Device (C000)", "Device (C001)", "Device (PCI0)", "EisaId (\"PNP0A08\")", "EisaId (\"PNP0A03\")",
      "Device (COM1)", "\"QEMU0001\"", "EisaId (\"PNP0C02\")", "Name (_PRT, Package (0x80)",
      "0x0000008000000000, // Range Minimum", "0x000000FFFFFFFFFF, // Range Maximum",
      "0xC0000000,         // Range Minimum", "0xDFFFFFFF,         // Range Maximum", "Name (_S5",
    ] {
      #expect(source.contains(expected), "\(expected) is missing")
    }
  }
}
