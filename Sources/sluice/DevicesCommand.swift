// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Linux
import PCI
import Trace
import VFIO

/// `sluice devices`.
struct DevicesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices",
    abstract: "Lists the PCI devices of this host, and what each needs to be passed through.",
    discussion: """
      EXAMPLES:
        sluice devices
        sluice devices --json
      """)

  @Flag(help: "Print a JSON array.")
  var json = false

  func run() throws {
    let devices: [HostDevice]
    do throws(KernelError) { devices = try HostDevice.all() } catch {
      let isAbsent = error.errno == KernelError.noEntry
      throw CommandFailure(error.description + (isAbsent ? "; this machine shows no PCI bus in sysfs" : ""))
    }
    let reports: [DeviceReport]
    do throws(KernelError) {
      reports = try devices.map { device throws(KernelError) in try DeviceReport(device) }
    } catch { throw CommandFailure(error.description) }
    if json {
      print("[\n" + reports.map { "  " + $0.json }.joined(separator: ",\n") + "\n]")
    } else if reports.isEmpty {
      print("This machine has no PCI devices.")
    } else {
      print(reports.map(\.text).joined(separator: "\n"))
    }
  }
}

/// What is told about a device.
struct DeviceReport {
  private let address: String
  private let identity: String
  private let classCode: String
  private let driver: String?
  private let group: String?
  private let others: [String]
  private let resetMethods: [String]
  private let resources: [HostDevice.Resource]
  private let readiness: HostDevice.Readiness

  init(_ device: HostDevice) throws(KernelError) {
    address = device.address
    identity = try device.vendor.digits(4) + ":" + device.device.digits(4)
    classCode = try device.classCode.digits(6)
    driver = try device.driver
    group = try device.group
    others = try device.groupMembers.filter { $0 != device.address }
    resetMethods = try device.resetMethods
    resources = try device.resources
    readiness = try device.readiness
  }

  private static func size(_ bytes: UInt64) -> String {
    for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] as [(UInt64, String)]
    where bytes >= 1 << shift && bytes % (1 << shift) == 0 { return "\(bytes >> shift)\(unit)" }
    return "\(bytes)"
  }

  /// A paragraph.
  var text: String {
    var lines = ["\(address)  \(identity)  class \(classCode)"]
    lines.append("    driver: \(driver ?? "none")")
    let shared = others.isEmpty ? "" : ", shared with \(others.joined(separator: ", "))"
    lines.append("    IOMMU group: \(group.map { $0 + shared } ?? "none")")
    lines.append(
      "    reset: \(resetMethods.isEmpty ? "none" : resetMethods.joined(separator: ", "))")
    for resource in resources {
      let name = resource.index == 6 ? "ROM" : "BAR \(resource.index)"
      lines.append("    \(name): \(Self.size(resource.size)) \(resource.kind)")
    }
    lines.append("    \(readiness.message)")
    return lines.joined(separator: "\n")
  }

  private static func list(_ items: [String]) -> String {
    "[" + items.map(JSON.quote).joined(separator: ",") + "]"
  }

  /// One JSON object.
  var json: String {
    let bars = resources.map { resource in
      "{\"index\":\(resource.index),\"size\":\(resource.size),\"kind\":\(JSON.quote(resource.kind))}"
    }
    let fields = [
      "\"address\":\(JSON.quote(address))",
      "\"vendor\":\(JSON.quote(String(identity.prefix(4))))",
      "\"device\":\(JSON.quote(String(identity.suffix(4))))",
      "\"class\":\(JSON.quote(classCode))",
      "\"driver\":\(driver.map(JSON.quote) ?? "null")",
      "\"group\":\(group.map(JSON.quote) ?? "null")",
      "\"sharedWith\":\(Self.list(others))",
      "\"resetMethods\":\(Self.list(resetMethods))",
      "\"bars\":[\(bars.joined(separator: ","))]",
      "\"ready\":\(readiness == .ready)",
      "\"advice\":\(JSON.quote(readiness.message))",
    ]
    return "{" + fields.joined(separator: ",") + "}"
  }
}
