// SPDX-License-Identifier: Apache-2.0

import Foundation
import Subprocess
import SystemPackage
import Testing

@testable import Boot

/// Debian's ACPI compiler, from the package acpica-tools.
private let iaslPath = "/usr/bin/iasl"

/// The tables as Debian's ACPI compiler disassembles and compiles them.
@Suite(
  "iasl",
  .enabled(if: FileManager.default.isExecutableFile(atPath: iaslPath), "acpica-tools is not installed"))
struct ASLTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Runs iasl and returns its output, errors included.
  func iasl(_ arguments: String...) async throws -> (status: Int32, output: String) {
    let result = try await Subprocess.run(
      .path(FilePath(iaslPath)), arguments: Arguments(arguments), workingDirectory: FilePath(scratch.path),
      output: .string(limit: 1 << 20), error: .combinedWithOutput)
    guard case .exited(let status) = result.terminationStatus else { return (-1, result.standardOutput) }
    return (status, result.standardOutput)
  }

  func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: "\(scratch.path)/\(name)")), as: UTF8.self)
  }

  @Test("iasl disassembles every table without errors or warnings", arguments: [1, 4, 255])
  func disassemble(cpus: Int) async throws {
    for table in try ACPITests.tables(cpus: cpus).all where table.signature != "RSD PTR " {
      _ = try scratch.file("\(table.signature).aml", table.bytes)
      let (status, output) = try await iasl("-d", "\(table.signature).aml")
      #expect(status == 0, "\(output)")
      let complaints = ["Error", "Warning", "Invalid", "incorrect"].filter { output.contains($0) }
      #expect(complaints.isEmpty, "\(table.signature): \(output)")
      #expect(!(try text("\(table.signature).dsl")).contains("ncorrect checksum"))
    }
  }

  @Test(
    "the DSDT recompiles to the same bytes, without errors or warnings", arguments: [1, 4, 255], [0, 31])
  func roundTrip(cpus: Int, lastBus: UInt8) async throws {
    let bytes = try ACPITests.tables(cpus: cpus, lastBus: lastBus).dsdt.bytes
    _ = try scratch.file("dsdt.aml", bytes)
    #expect(try await iasl("-d", "dsdt.aml").status == 0)
    let (status, output) = try await iasl("-p", "again", "dsdt.dsl")
    #expect(status == 0, "\(output)")
    #expect(output.contains(" 0 Errors, 0 Warnings"), "\(output)")
    let again = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(scratch.path)/again.aml")))
    // The header names its compiler. All other bytes must be equal.
    let isSame = again.dropFirst(36) == bytes.dropFirst(36)
    #expect(isSame)
  }

  @Test("the disassembled DSDT has every device with the addresses of PlatformLayout")
  func source() async throws {
    _ = try scratch.file("dsdt.aml", try ACPITests.tables(cpus: 2).dsdt.bytes)
    _ = try await iasl("-d", "dsdt.aml")
    let source = try text("dsdt.dsl")
    for expected in [
      "Device (C000)", "Device (C001)", "Device (PCI0)", "EisaId (\"PNP0A08\")", "EisaId (\"PNP0A03\")",
      "Device (COM1)", "\"QEMU0001\"", "EisaId (\"PNP0C02\")", "Name (_PRT, Package (0x80)",
      "0x0000008000000000, // Range Minimum", "0x000000FFFFFFFFFF, // Range Maximum",
      "0xC0000000,         // Range Minimum", "0xDFFFFFFF,         // Range Maximum", "Name (_S5",
      "EisaId (\"PNP0C0C\")", "\"ACPI0013\"", "Method (_EVT, 1, NotSerialized)", "Notify (PWRB, 0x80)",
    ] {
      #expect(source.contains(expected), "\(expected) is missing")
    }
  }

  @Test(
    "a guest with ports may control hot plug, PME, AER and the PCI Express capability, and no other guest may"
  )
  func portControl() async throws {
    _ = try scratch.file("dsdt.aml", try ACPITests.tables(lastBus: 2).dsdt.bytes)
    _ = try await iasl("-d", "dsdt.aml")
    let source = try text("dsdt.dsl")
    for expected in [
      "Method (_OSC, 4, Serialized)", "33db4d5b-1ff7-401c-9657-7441c03dd766",
      "CreateDWordField (Arg3, Zero, STAT)",
      "CreateDWordField (Arg3, 0x08, CTRL)", "(CTRL & 0x1D)", "Return (Arg3)",
      "0x0002,             // Range Maximum",
    ] {
      #expect(source.contains(expected), "\(expected) is missing")
    }
    let plain = try ACPITests.tables().dsdt.bytes
    #expect(!String(decoding: plain, as: UTF8.self).contains("_OSC"))
  }
}
