// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases for the other commands of Sluice.
enum ToolCases {
  static let all: [Case] = [
    Case("devices", "sluice devices shows every function, its driver and the next step") { context in
      let text = try Command.output([context.manifest.sluice, "devices"])
      try Data(text.utf8).write(to: context.file("devices.txt"))
      let json = try Command.output([context.manifest.sluice, "devices", "--json"])
      try Data(json.utf8).write(to: context.file("devices.json"))
      let addresses = try FileManager.default.contentsOfDirectory(atPath: "/sys/bus/pci/devices")
      for address in addresses {
        try context.require(text.contains(address), "'sluice devices' does not show \(address)")
        try context.require(
          json.contains("\"\(address)\""), "'sluice devices --json' does not show \(address)")
      }
      try context.require(
        text.split(separator: "\n").count == addresses.count,
        "'sluice devices' does not print one line for each of \(addresses.count) functions")
      let detail = try Command.output([context.manifest.sluice, "devices", Address.network])
      try context.require(
        detail.contains("IOMMU group: ") && detail.contains("ROM: ") && !detail.contains(Address.disk),
        "'sluice devices \(Address.network)' shows \(detail)")
      try checkReports(json, context)
      return "\(addresses.count) functions"
    },
    Case("bind", "sluice bind binds the drive to vfio-pci; sluice unbind restores its driver") { context in
      try bind(HostDevice(Address.smallDrive), hostDriver: "nvme", context)
      return ""
    },
  ]

  /// Checks `sluice bind` and `sluice unbind` with a device that has a host driver. The device is bound to vfio-pci
  /// afterwards.
  static func bind(_ device: HostDevice, hostDriver: String, _ context: CaseContext) throws {
    try device.bind(to: hostDriver)
    defer { try? device.bind(to: "vfio-pci") }  // the next case with the device reports a failure
    for (verb, driver) in [("bind", "vfio-pci"), ("bind", "vfio-pci"), ("unbind", hostDriver)] {
      let (status, _, errors) = try Command.result([context.manifest.sluice, verb, device.address])
      try context.require(status == 0, "'sluice \(verb)': status \(status): \(errors)")
      try context.require(
        device.driver == driver,
        "after 'sluice \(verb)' the driver is \(device.driver ?? "none"), not \(driver)")
    }
  }

  private struct DeviceReport: Decodable {
    struct Resource: Decodable {
      var index: Int
      var kind: String
    }

    var address: String
    var sharedWith: [String]
    var resetMethods: [String]
    var bars: [Resource]
    var ready: Bool
  }

  /// Checks the reported properties that only some of L1's devices have.
  private static func checkReports(_ json: String, _ context: CaseContext) throws {
    let all = try JSONDecoder().decode([DeviceReport].self, from: Data(json.utf8))
    func report(_ address: String) throws -> DeviceReport {
      guard let found = all.first(where: { $0.address == address }) else {
        throw Failed("the report lacks \(address)")
      }
      return found
    }
    let ports = try report(Address.disk).bars.filter { $0.kind == "io" }
    try context.require(ports.map(\.index) == [4], "the SATA controller's I/O port BARs are \(ports)")
    let network = try report(Address.network)
    try context.require(
      network.bars.contains { $0.index == 6 }, "the network card has no ROM: \(network.bars.map(\.index))")
    try context.require(
      network.resetMethods == ["pm"], "the network card's reset methods are \(network.resetMethods)")
    let pair = try Address.pair.map(report)
    try context.require(
      pair[0].sharedWith == [Address.pair[1]] && pair[1].sharedWith == [Address.pair[0]] && pair[0].ready,
      "the functions of one slot share \(pair.map(\.sharedWith))")
    let virtual = try report(Address.virtualFunction)
    try context.require(
      virtual.ready && virtual.sharedWith.isEmpty && virtual.resetMethods.contains("flr"),
      "the report of the virtual function is \(virtual)")
  }
}
