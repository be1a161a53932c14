// SPDX-License-Identifier: Apache-2.0

internal import Linux

extension HostDevice {
  /// What keeps a device from being passed through, and what to type about it.
  public enum Readiness: Equatable, Sendable, CustomStringConvertible {
    /// Nothing.
    case ready
    /// A driver of the host has it, or none.
    case bound(driver: String?, address: String)
    /// It has no IOMMU group.
    case noGroup
    /// Others of its group belong to drivers of the host.
    case shared(group: String, others: [String])
    /// It is a bridge.
    case bridge

    /// The state and the remedy, for a person.
    public var description: String {
      switch self {
      case .ready: "ready"
      case .bound(let driver?, let address):
        "is bound to \(driver); type 'sluice bind \(address)' to take it from that driver"
      case .bound(nil, let address): "has no driver; type 'sluice bind \(address)'"
      case .noGroup:
        "is in no IOMMU group; turn on the IOMMU in the firmware and boot the host with "
          + "'intel_iommu=on' or 'amd_iommu=on'"
      case .shared(let group, let others):
        "shares IOMMU group \(group) with \(others.joined(separator: ", ")), which the host uses; type "
          + others.map { "'sluice bind \($0.prefix { $0 != " " })'" }.joined(separator: " and ")
          + " to give the whole group to VFIO"
      case .bridge: "is a bridge to another bus, which cannot be passed through"
      }
    }
  }

  /// Whether the device can be passed through now.
  public var readiness: Readiness {
    get throws(KernelError) {
      if try isBridge { return .bridge }
      guard let group = try group else { return .noGroup }
      if try !hasVFIODriver { return .bound(driver: try driver, address: address) }
      let blockers = try blockers
      guard blockers.isEmpty else {
        return .shared(group: group, others: blockers.map { "\($0.device.address) (\($0.driver))" })
      }
      return .ready
    }
  }

  /// Gives the device to vfio-pci (driver_override; Documentation/driver-api/vfio.rst).
  public func bind() throws(VFIOError) {
    let pci = "\(root)/bus/pci"
    switch try look({ () throws(KernelError) in try readiness }) {
    case .bridge: throw .notReady(address, .bridge)
    case .noGroup: throw .notReady(address, .noGroup)
    case .ready, .shared: return
    case .bound: break
    }
    do throws(KernelError) { _ = try Sysfs.list("\(pci)/drivers/vfio-pci") } catch {
      // The directory is there exactly while the driver is.
      throw error.errno == KernelError.noEntry ? .noDriver(address) : .binding(address, error)
    }
    do throws(KernelError) {
      try Sysfs.write("vfio-pci", to: "\(pci)/devices/\(address)/driver_override")
      if try driver != nil { try Sysfs.write(address, to: "\(pci)/devices/\(address)/driver/unbind") }
      try Sysfs.write(address, to: "\(pci)/drivers_probe")
    } catch { throw .binding(address, error) }
    let now = try look { () throws(KernelError) in try driver }
    guard now == "vfio-pci" else { throw .notBound(address, driver: now) }
  }

  /// Gives the device back to the driver that the host would choose for it.
  public func unbind() throws(VFIOError) {
    let pci = "\(root)/bus/pci"
    do throws(KernelError) {
      try Sysfs.write("\n", to: "\(pci)/devices/\(address)/driver_override")
      if try hasVFIODriver {
        try Sysfs.write(address, to: "\(pci)/devices/\(address)/driver/unbind")
      }
      try Sysfs.write(address, to: "\(pci)/drivers_probe")
    } catch { throw .binding(address, error) }
  }

  private func look<Value>(_ read: () throws(KernelError) -> Value) throws(VFIOError) -> Value {
    do throws(KernelError) { return try read() } catch { throw .binding(address, error) }
  }
}
