// SPDX-License-Identifier: Apache-2.0

internal import Linux

extension HostDevice {
  /// A device of an IOMMU group that a driver of the host has.
  public struct Blocker: Equatable, Sendable, CustomStringConvertible {
    /// Its address on the host.
    public let address: String
    /// The driver's name.
    public let driver: String

    /// Names a device and its driver.
    public init(address: String, driver: String) { (self.address, self.driver) = (address, driver) }

    /// `0000:01:00.1 (nvme)`.
    public var description: String { "\(address) (\(driver))" }
  }

  /// The state of a device that decides if it can be passed through.
  public enum Readiness: Equatable, Sendable, CustomStringConvertible {
    /// It can be passed through.
    case ready
    /// A driver of the host has it, or none.
    case bound(driver: String?, address: String)
    /// It has no IOMMU group.
    case noGroup
    /// Others of its group belong to drivers of the host.
    case shared(group: String, others: [Blocker])
    /// It is a bridge.
    case bridge

    /// The state.
    public var description: String {
      switch self {
      case .ready: "ready"
      case .bound(let driver?, _): "bound to \(driver)"
      case .bound(nil, _): "not bound to a driver"
      case .noGroup: "in no IOMMU group"
      case .shared(let group, let others):
        "in IOMMU group \(group) with \(others.map(\.description).joined(separator: ", ")), which the host uses"
      case .bridge: "a bridge to another bus, which cannot be passed through"
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
        return .shared(group: group, others: blockers)
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
