// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The other verbs of Sluice.
enum ToolCases {
  static let all: [Case] = [
    Case("devices", "sluice devices shows every function, its driver and what to do") { bench in
      let text = try Command.output([bench.manifest.sluice, "devices"])
      try Data(text.utf8).write(to: bench.file("devices.txt"))
      let json = try Command.output([bench.manifest.sluice, "devices", "--json"])
      try Data(json.utf8).write(to: bench.file("devices.json"))
      let addresses = try FileManager.default.contentsOfDirectory(atPath: "/sys/bus/pci/devices")
      for address in addresses {
        try bench.require(text.contains(address), "'sluice devices' does not show \(address)")
        try bench.require(json.contains("\"\(address)\""), "'sluice devices --json' does not show \(address)")
      }
      _ = try JSONSerialization.jsonObject(with: Data(json.utf8))
      return "\(addresses.count) functions"
    },
    Case("bind", "sluice bind and unbind give the drive to the guest and back to its driver") { bench in
      let drive = HostDevice(Address.smallDrive)
      try drive.bind(to: "nvme")
      defer { try? drive.bind(to: "vfio-pci") }  // the next case that needs it says so
      for (verb, driver) in [("bind", "vfio-pci"), ("bind", "vfio-pci"), ("unbind", "nvme")] {
        let (status, _, errors) = try Command.result([bench.manifest.sluice, verb, drive.address])
        try bench.require(status == 0, "'sluice \(verb)': status \(status): \(errors)")
        try bench.require(
          drive.driver == driver,
          "after 'sluice \(verb)' the driver is \(drive.driver ?? "none"), not \(driver)")
      }
      return ""
    },
  ]
}
