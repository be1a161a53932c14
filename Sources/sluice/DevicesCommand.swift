// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import PCI
import Trace
import VFIO
import VMM

/// `sluice devices`.
struct DevicesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices",
    abstract: "List the PCI devices of this host and the next step to pass each one through.",
    discussion: """
      Prints one line for each device: address, driver, state and name. With an
      address or --verbose, prints the IOMMU group, reset methods, BARs and next step
      of each device. Names come from the file pci.ids, if the host has it.

      STATES:
        ready     bound to vfio-pci, and the host uses no device of its IOMMU group:
                  pass it through with 'sluice run --device'
        free      not bound to a driver: type 'sluice bind'
        bound     bound to a host driver: 'sluice bind' unbinds it
        shared    bound to vfio-pci, but the host uses a device of its IOMMU group:
                  bind that device too
        no-iommu  not in an IOMMU group: turn on the IOMMU
        bridge    a bridge to another bus: it cannot be passed through

      EXAMPLES:
        sluice devices
        sluice devices 0000:01:00.0
        sluice devices --json
      """)

  @Argument(
    help: ArgumentHelp(
      "The devices to show in detail, by PCI address (default: all devices, one line each).",
      valueName: "address"),
    transform: DeviceArgument.hostAddress)
  var addresses: [Address] = []

  @Flag(name: .shortAndLong, help: "Show details of every device.")
  var verbose = false

  @Flag(help: "Print a JSON array with all details.")
  var json = false

  func run() throws {
    let reports: [DeviceReport]
    do throws(KernelError) {
      reports = try devices().map { device throws(KernelError) in try DeviceReport(device) }
    } catch {
      let isAbsent = error.errno == KernelError.noEntry
      throw CommandFailure(error.description + (isAbsent ? ": the host has no PCI bus in sysfs" : ""))
    }
    for address in addresses where !reports.contains(where: { $0.address == address.description }) {
      throw CommandFailure(
        "device \(address): the host has no PCI device there; type 'sluice devices' to list them")
    }
    if json {
      print("[\n" + reports.map { "  " + $0.json }.joined(separator: ",\n") + "\n]")
    } else if reports.isEmpty {
      print("The host has no PCI devices.")
    } else {
      let names = DeviceNames(reports)
      let isDetailed = verbose || !addresses.isEmpty
      print(reports.map { isDetailed ? $0.text(names) : $0.line(names) }.joined(separator: "\n"))
    }
  }

  /// Returns the devices that the user names, or all devices.
  private func devices() throws(KernelError) -> [HostDevice] {
    let all = try HostDevice.all()
    let wanted = Set(addresses.map(\.description))
    return wanted.isEmpty ? all : all.filter { wanted.contains($0.address) }
  }
}

/// The names of devices from pci.ids.
struct DeviceNames {
  private let names: [UInt32: String]

  /// The paths of pci.ids on common distributions.
  private static let files = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"]
  /// The maximum number of bytes to read. No such file is larger.
  private static let limit = 16 << 20

  init(_ reports: [DeviceReport], files: [String] = files) {
    for file in files {
      // A device has only IDs if the host has no readable file.
      do throws(KernelError) {
        let text = try OwnedDescriptor(opening: file, .read).read(Self.limit, at: 0)
        names = PCIIDs.names(of: reports.map { ($0.vendor, $0.device) }, in: text)
        return
      } catch { continue }
    }
    names = [:]
  }

  /// Returns the name and the IDs, or only the IDs if the name is unknown.
  func name(_ report: DeviceReport) -> String {
    guard let name = names[PCIIDs.key(report.vendor, report.device)] else { return report.identity }
    return "\(name) [\(report.identity)]"
  }
}

/// The report on a device.
struct DeviceReport {
  let address: String
  let vendor: UInt16
  let device: UInt16
  private let classCode: String
  private let driver: String?
  private let group: String?
  private let others: [String]
  private let resetMethods: [String]
  private let resources: [HostDevice.Resource]
  private let readiness: HostDevice.Readiness
  private let choice: IOMMUChoice

  init(_ device: HostDevice) throws(KernelError) {
    address = device.address
    vendor = try device.vendor
    self.device = try device.device
    classCode = try device.classCode.digits(6)
    driver = try device.driver
    group = try device.group
    others = try device.groupMembers.filter { $0 != device.address }
    resetMethods = try device.resetMethods
    resources = try device.resources
    readiness = try device.readiness
    choice = try IOMMUChoice(for: device)
  }

  private static func size(_ bytes: UInt64) -> String {
    for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] as [(UInt64, String)]
    where bytes >= 1 << shift && bytes % (1 << shift) == 0 { return "\(bytes >> shift)\(unit)" }
    return "\(bytes)"
  }

  /// The vendor ID and device ID.
  var identity: String { "\(vendor.digits(4)):\(device.digits(4))" }

  /// The state in one word.
  private var state: String {
    switch readiness {
    case .ready: "ready"
    case .bound(nil, _): "free"
    case .bound: "bound"
    case .shared: "shared"
    case .noGroup: "no-iommu"
    case .bridge: "bridge"
    }
  }

  /// Returns one line: address, driver, state, name.
  func line(_ names: DeviceNames) -> String {
    func padded(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(0, width - text.count))
    }
    return "\(address)  \(padded(driver ?? "-", 10)) \(padded(state, 8)) \(names.name(self))"
  }

  /// Returns the details, one fact per line.
  func text(_ names: DeviceNames) -> String {
    var lines = ["\(address)  \(names.name(self))  class \(classCode)"]
    lines.append("    driver: \(driver ?? "none")")
    let shared = others.isEmpty ? "" : ", shared with \(others.joined(separator: ", "))"
    lines.append("    IOMMU group: \(group.map { $0 + shared } ?? "none")")
    lines.append(
      "    reset: \(resetMethods.isEmpty ? "none" : resetMethods.joined(separator: ", "))")
    for resource in resources {
      let name = resource.index == 6 ? "ROM" : "BAR \(resource.index)"
      lines.append("    \(name): \(Self.size(resource.size)) \(resource.kind)")
    }
    if group != nil {
      lines.append("    interface to the IOMMU: \(choice.interface.rawValue) (\(choice.reason))")
    }
    lines.append("    \(readiness.message)")
    return lines.joined(separator: "\n")
  }

  private static func list(_ items: [String]) -> String {
    "[" + items.map(JSON.quote).joined(separator: ",") + "]"
  }

  /// The details as a JSON object.
  var json: String {
    let bars = resources.map { resource in
      "{\"index\":\(resource.index),\"size\":\(resource.size),\"kind\":\(JSON.quote(resource.kind))}"
    }
    let fields = [
      "\"address\":\(JSON.quote(address))",
      "\"vendor\":\(JSON.quote(vendor.digits(4)))",
      "\"device\":\(JSON.quote(device.digits(4)))",
      "\"class\":\(JSON.quote(classCode))",
      "\"driver\":\(driver.map(JSON.quote) ?? "null")",
      "\"group\":\(group.map(JSON.quote) ?? "null")",
      "\"sharedWith\":\(Self.list(others))",
      "\"resetMethods\":\(Self.list(resetMethods))",
      "\"bars\":[\(bars.joined(separator: ","))]",
      "\"ready\":\(readiness == .ready)",
      "\"iommu\":\(JSON.quote(choice.interface.rawValue))",
      "\"iommuReason\":\(JSON.quote(choice.reason))",
      "\"advice\":\(JSON.quote(readiness.message))",
    ]
    return "{" + fields.joined(separator: ",") + "}"
  }
}
