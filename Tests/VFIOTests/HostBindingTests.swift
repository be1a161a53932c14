// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import VFIO

/// Writes to sysfs. Unlike a kernel, the fixture does not act on them. The last step of a binding, which
/// checks the driver, therefore finds the old driver.
@Suite struct HostBindingTests {
  private static let address = "0000:01:00.0"
  private static let device = "bus/pci/devices/0000:01:00.0"

  private func failure(_ body: () throws(VFIOError) -> Void) -> String? {
    do throws(VFIOError) {
      try body()
      return nil
    } catch { return error.description }
  }

  private func host(driver: String?, drivers: [String] = ["vfio-pci", "nvme"]) throws -> (
    FakeHost, HostDevice
  ) {
    let host = try FakeHost(drivers: drivers)
    try host.add(Self.address, driver: driver, group: "3")
    return (host, try #require(try host.device(Self.address)))
  }

  @Test("binding sets the override to vfio-pci, unbinds the old driver and probes again")
  func bind() throws {
    let (host, device) = try host(driver: "nvme")
    #expect(
      failure(device.bind) == "device 0000:01:00.0: bind: the kernel has bound nvme instead of vfio-pci")
    #expect(try host.read("\(Self.device)/driver_override") == "vfio-pci")
    #expect(try host.read("bus/pci/drivers/nvme/unbind") == Self.address)
    #expect(try host.read("bus/pci/drivers_probe") == Self.address)
    #expect(try host.read("bus/pci/drivers/vfio-pci/unbind") == "")
  }

  @Test("binding a device without a driver unbinds no driver")
  func bindUnbound() throws {
    let (host, device) = try host(driver: nil)
    #expect(failure(device.bind)?.contains("the kernel has not bound vfio-pci") == true)
    #expect(try host.read("\(Self.device)/driver_override") == "vfio-pci")
    #expect(try host.read("bus/pci/drivers_probe") == Self.address)
  }

  @Test("the override is written before the unbind, and the unbind before the probe")
  func order() throws {
    var (host, device) = try host(driver: "nvme")
    try host.remove("\(Self.device)/driver_override")
    #expect(failure(device.bind)?.contains("driver_override: No such file") == true)
    #expect(try host.read("bus/pci/drivers/nvme/unbind") == "")
    #expect(try host.read("bus/pci/drivers_probe") == "")
    (host, device) = try self.host(driver: "nvme")
    try host.remove("bus/pci/drivers/nvme/unbind")
    #expect(failure(device.bind)?.contains("driver/unbind: No such file") == true)
    #expect(try host.read("\(Self.device)/driver_override") == "vfio-pci")
    #expect(try host.read("bus/pci/drivers_probe") == "")
    (host, device) = try self.host(driver: "nvme")
    try host.remove("bus/pci/drivers_probe")
    #expect(failure(device.bind)?.contains("drivers_probe: No such file") == true)
    #expect(try host.read("bus/pci/drivers/nvme/unbind") == Self.address)
  }

  @Test("a device that is already bound is left alone")
  func bindBound() throws {
    let (host, device) = try host(driver: "vfio-pci")
    #expect(failure(device.bind) == nil)
    #expect(try host.read("\(Self.device)/driver_override") == "")
    #expect(try host.read("bus/pci/drivers_probe") == "")
  }

  @Test("without the driver vfio-pci no file is written")
  func noDriver() throws {
    let (host, device) = try host(driver: "nvme", drivers: ["nvme"])
    #expect(failure(device.bind) == "device 0000:01:00.0: the driver vfio-pci is not loaded")
    #expect(try host.read("\(Self.device)/driver_override") == "")
    #expect(try host.read("bus/pci/drivers/nvme/unbind") == "")
  }

  @Test("a device without a group keeps its driver")
  func noGroup() throws {
    let host = try FakeHost()
    try host.add(Self.address, driver: "nvme")
    let device = try #require(try host.device(Self.address))
    #expect(failure(device.bind)?.contains("in no IOMMU group") == true)
    #expect(try host.read("\(Self.device)/driver_override") == "")
  }

  @Test("unbinding clears the override, unbinds vfio-pci and probes again")
  func unbind() throws {
    let (host, device) = try host(driver: "vfio-pci")
    #expect(failure(device.unbind) == nil)
    #expect(try host.read("\(Self.device)/driver_override") == "\n")
    #expect(try host.read("bus/pci/drivers/vfio-pci/unbind") == Self.address)
    #expect(try host.read("bus/pci/drivers_probe") == Self.address)
  }

  @Test("unbinding leaves a device bound to a driver of the host")
  func unbindOther() throws {
    let (host, device) = try host(driver: "nvme")
    #expect(failure(device.unbind) == nil)
    #expect(try host.read("bus/pci/drivers/nvme/unbind") == "")
    #expect(try host.read("\(Self.device)/driver_override") == "\n")
  }
}
