// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Testing

@testable import LabRunner

/// The arguments of `here`, and the devices that it refuses.
@Suite struct HereCommandTests {
  @Test("takes a device, a flag and names of cases")
  func arguments() throws {
    let command = try HereCommand.parse(["--device", "0000:01:00.0", "--yes", "here-run", "here-linux"])
    #expect(command.device == "0000:01:00.0" && command.yes && command.names == ["here-run", "here-linux"])
    let plain = try HereCommand.parse(["--device", "10de:fe:1f.7"])
    #expect(!plain.yes && plain.names.isEmpty)
  }

  @Test(
    "a missing device, an invalid address and an unknown case are usage errors",
    arguments: [
      [], ["--device", "drive"], ["--device", "01:00.0"], ["--device", "0000:01:00.8"],
      ["--device", "0000:01:00.0", "msix"],
    ])
  func usage(_ arguments: [String]) {
    #expect(throws: (any Error).self) { try HereCommand.parse(arguments) }
  }

  @Test("without a terminal, the flag is required: exit status 2")
  func confirmation() throws {
    #expect(throws: ExitCode(2)) { try HereCommand.requireConfirmation(yes: false, isTerminal: false) }
    try HereCommand.requireConfirmation(yes: true, isTerminal: false)
    try HereCommand.requireConfirmation(yes: false, isTerminal: true)
  }

  @Test(
    "only yes is yes",
    arguments: [("y", true), ("Yes ", true), ("", false), ("n", false), ("yesterday", false), (nil, false)]
      as [(String?, Bool)])
  func answer(_ text: String?, _ isYes: Bool) { #expect(HereCommand.isYes(text) == isYes) }

  @Test("each case has a unique name, and none has the name of a case of L1")
  func names() {
    let names = HereCases.all.map(\.name)
    #expect(Set(names).count == names.count)
    #expect(Set(names).isDisjoint(with: Case.all.map(\.name)))
  }
}

/// The reports of `sluice devices --json`, and the decisions that depend on them.
@Suite struct HereDeviceTests {
  private static func device(
    _ address: String, driver: String?, group: String? = "5", class code: String = "010802",
    bars: String = #"{"index":0,"size":16384,"kind":"mem64"}"#, advice: String = "bound to nvme"
  ) throws -> HereDevice {
    let json = """
      {"address":"\(address)","vendor":"1b36","device":"0010","class":"\(code)",
      "driver":\(driver.map { "\"\($0)\"" } ?? "null"),"group":\(group.map { "\"\($0)\"" } ?? "null"),
      "sharedWith":[],"resetMethods":["flr"],"bars":[\(bars)],"ready":false,"iommu":"type1",
      "iommuReason":"","advice":"\(advice)"}
      """
    return try JSONDecoder().decode(HereDevice.self, from: Data(json.utf8))
  }

  @Test("refuses a bridge, a device without a group, and a device whose group the host uses")
  func refusals() throws {
    #expect(try Self.device("0000:01:00.0", driver: "nvme").refusal == nil)
    #expect(
      try Self.device("0000:01:00.0", driver: nil, group: nil, advice: "in no IOMMU group").refusal
        == "device 0000:01:00.0: in no IOMMU group")
    #expect(
      try Self.device("0000:01:00.0", driver: nil, advice: "a bridge to another bus").refusal
        == "device 0000:01:00.0: a bridge to another bus")
    var shared = try Self.device("0000:01:00.0", driver: "nvme")
    shared.members = try ["vfio-pci", "pcieport", nil].map { try Self.device("0000:01:00.1", driver: $0) }
    #expect(shared.refusal == nil)
    shared.members.append(try Self.device("0000:01:00.2", driver: "e1000"))
    #expect(
      shared.refusal
        == "device 0000:01:00.0: IOMMU group 5: not viable, because the host uses 0000:01:00.2 (e1000); "
        + "bind these to vfio-pci, or use another device")
  }

  @Test("skips the cases that a device cannot run, with a reason")
  func skips() throws {
    func skipped(_ device: HereDevice) -> [String] {
      HereCases.all.filter { $0.reasonToSkip(device) != nil }.map(\.name)
    }
    var drive = try Self.device("0000:01:00.0", driver: "nvme")
    drive.capabilities = [0x01, 0x10, 0x11]
    #expect(skipped(drive) == [])
    drive.capabilities = []
    #expect(skipped(drive) == ["here-reset", "here-interrupts"])
    let ports = try Self.device(
      "0000:01:00.0", driver: "vfio-pci", class: "078000",
      bars: #"{"index":0,"size":8,"kind":"io"},{"index":6,"size":4096,"kind":"mem32"}"#)
    #expect(ports.memoryBARs == [] && ports.hostDriver == nil)
    #expect(
      skipped(ports) == [
        "here-bind", "here-run", "here-memory-bit", "here-reset", "here-interrupts", "here-removal",
      ])
  }

  @Test(
    "takes the small guest that can raise an interrupt of a class",
    arguments: [
      ("010802", [0x11], "msix"), ("0c0330", [0x05, 0x11], "vectors"), ("0c0330", [0x05], "msi"),
      ("020000", [0x05, 0x11], nil), ("010802", [0x05], nil),
    ] as [(String, [UInt8], String?)])
  func interrupts(_ code: String, _ capabilities: [UInt8], _ guest: String?) throws {
    var device = try Self.device("0000:01:00.0", driver: nil, class: code)
    device.capabilities = capabilities
    #expect(HereCases.interruptGuest(device)?.name == guest)
  }
}
