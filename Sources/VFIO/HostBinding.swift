// SPDX-License-Identifier: Apache-2.0

internal import Linux

extension HostDevice {
  /// A device of an IOMMU group that is bound to a driver of the host.
  public struct Blocker: Equatable, Sendable, CustomStringConvertible {
    /// The address on the host.
    public let address: String
    /// The driver's name.
    public let driver: String

    /// Creates a blocker from an address and a driver.
    public init(address: String, driver: String) { (self.address, self.driver) = (address, driver) }

    /// `0000:01:00.1 (nvme)`.
    public var description: String { "\(address) (\(driver))" }
  }

  /// The state of a device, which determines if it can be passed through.
  public enum Readiness: Equatable, Sendable, CustomStringConvertible {
    /// The device can be passed through.
    case ready
    /// The device is bound to a driver of the host, or to no driver.
    case bound(driver: String?, address: String)
    /// The device has no IOMMU group.
    case noGroup
    /// Other devices of the group are bound to drivers of the host.
    case shared(group: String, others: [Blocker])
    /// The device is a bridge.
    case bridge

    /// The state as text.
    public var description: String {
      switch self {
      case .ready: "ready"
      case .bound(let driver?, _): "bound to \(driver)"
      case .bound(nil, _): "not bound to a driver"
      case .noGroup: "in no IOMMU group"
      case .shared(let group, let others):
        "in IOMMU group \(group) with \(others.map(\.description).joined(separator: ", ")), "
          + "which the host uses"
      case .bridge: "a bridge to another bus, which cannot be passed through"
      }
    }
  }

  /// The current readiness of the device for passthrough.
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

  /// Binds the device to vfio-pci (driver_override; Documentation/driver-api/vfio.rst).
  public func bind() throws(VFIOError) {
    let pci = "\(root)/bus/pci"
    switch try query({ () throws(KernelError) in try readiness }) {
    case .bridge: throw .notReady(address, .bridge)
    case .noGroup: throw .notReady(address, .noGroup)
    case .ready, .shared: return
    case .bound: break
    }
    do throws(KernelError) { _ = try Sysfs.list("\(pci)/drivers/vfio-pci") } catch {
      // The directory exists exactly while the driver is loaded.
      throw error.errno == KernelError.noEntry ? .noDriver(address) : .binding(address, error)
    }
    do throws(KernelError) {
      try Sysfs.write("vfio-pci", to: "\(pci)/devices/\(address)/driver_override")
      if try driver != nil { try Sysfs.write(address, to: "\(pci)/devices/\(address)/driver/unbind") }
      try Sysfs.write(address, to: "\(pci)/drivers_probe")
    } catch { throw .binding(address, error) }
    let now = try query { () throws(KernelError) in try driver }
    guard now == "vfio-pci" else { throw .notBound(address, driver: now) }
  }

  /// Unbinds the device from its VFIO driver. The host then binds the driver that it chooses for the device.
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

  private func query<Value>(_ read: () throws(KernelError) -> Value) throws(VFIOError) -> Value {
    do throws(KernelError) { return try read() } catch { throw .binding(address, error) }
  }
}
