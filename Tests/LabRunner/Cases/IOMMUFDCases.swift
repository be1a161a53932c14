// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A case for iommufd and the VFIO device files of L1's kernel.
enum IOMMUFDCases {
  static let all: [Case] = [
    Case(
      "iommufd-devices", "every device of vfio-pci has a device file, and maps memory through iommufd",
      limit: 120, needsIOMMUFD: true
    ) { context in
      try requireCharacterDevice("/dev/iommu", nil)
      try requireCharacterDevice("/dev/vfio/vfio", nil)
      let addresses = try FileManager.default.contentsOfDirectory(atPath: "/sys/bus/pci/drivers/vfio-pci")
        .filter { $0.hasPrefix("0000:") }.sorted()
      let missing = Address.assignable.filter { !addresses.contains($0) }
      try context.require(missing.isEmpty, "not bound to vfio-pci: \(missing.joined(separator: " "))")
      for address in addresses {
        let report = try probe(address, context)
        if address == Address.bigDrive { context.note("\(address)\n" + report) }
      }
      return "\(addresses.count) devices"
    }
  ]

  /// Checks the device's group and device file, and runs `iommufd-probe` with the device file.
  ///
  /// - Returns: The output of the program.
  private static func probe(_ address: String, _ context: CaseContext) throws -> String {
    let device = HostDevice(address)
    guard let group = device.group else { throw Failed("\(address): no IOMMU group") }
    try requireCharacterDevice("/dev/vfio/\(group)", nil)
    let folder = "/sys/bus/pci/devices/\(address)/vfio-dev"
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    guard names.count == 1, let name = names.first, name.hasPrefix("vfio") else {
      throw Failed("\(folder): expected one device, found \(names)")
    }
    let number = try ProcFile.text("\(folder)/\(name)/dev").trimmingCharacters(in: .newlines)
    let path = "/dev/vfio/devices/\(name)"
    try requireCharacterDevice(path, number)
    let (status, output, errors) = try Command.result(["\(context.manifest.programs)/iommufd-probe", path])
    try Data((output + errors).utf8).write(to: context.file("\(address).txt"))
    try context.require(
      status == 0, "\(address): iommufd-probe: status \(status): \(errors.isEmpty ? output : errors)")
    let done = output.split(separator: "\n").compactMap { $0.split(separator: ":").first.map(String.init) }
    try context.require(done == steps, "\(address): iommufd-probe printed \(done), expected \(steps)")
    try device.requireReleased()
    return output
  }

  /// The steps that `iommufd-probe` prints.
  private static let steps = [
    "open", "BIND_IOMMUFD", "IOAS_ALLOC", "ATTACH_IOMMUFD_PT", "IOAS_IOVA_RANGES", "IOAS_MAP", "IOAS_UNMAP",
  ]

  /// Checks that a path is a character device.
  ///
  /// - Parameter number: The device number as in sysfs, `major:minor`, or nil if any number is correct.
  private static func requireCharacterDevice(_ path: String, _ number: String?) throws {
    let found = try Command.result(["stat", "--format", "%F %Hr:%Lr", path])
    guard found.status == 0 else { throw Failed("\(path): \(found.errors)") }
    let words = found.output.trimmingCharacters(in: .newlines)
    guard words.hasPrefix("character special file "), number.map({ words.hasSuffix(" \($0)") }) ?? true else {
      throw Failed("\(path): is a \(words), expected a character device \(number ?? "")")
    }
  }
}
