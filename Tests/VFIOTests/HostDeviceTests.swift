// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import VFIO

@Suite struct HostDeviceTests {
  private static let address = "0000:01:00.0"

  @Test("a device that the host does not have is nil")
  func absent() throws {
    let host = try FakeHost()
    #expect(try host.device(Self.address) == nil)
    #expect(try HostDevice.all(root: host.root).isEmpty)
  }

  @Test("identity, driver, group and reset methods are read from sysfs")
  func attributes() throws {
    let host = try FakeHost()
    try host.add(
      Self.address, driver: "nvme", group: "12", attributes: ["reset_method": "flr bus\n"])
    let device = try #require(try host.device(Self.address))
    #expect(try device.vendor == 0x1B36 && device.device == 0x10 && device.classCode == 0x01_0802)
    #expect(try device.driver == "nvme" && device.group == "12")
    #expect(try device.resetMethods == ["flr", "bus"])
    #expect(try device.groupMembers == [Self.address])
    #expect(try !device.isBridge)
  }

  @Test("a missing attribute is nil or empty")
  func bare() throws {
    let host = try FakeHost()
    try host.add(Self.address, classCode: "nonsense")
    let device = try #require(try host.device(Self.address))
    #expect(try device.driver == nil && device.group == nil && device.classCode == 0)
    #expect(try device.resetMethods == [] && device.resources == [] && device.groupMembers == [])
  }

  @Test("an unreadable attribute is an error with its name, and not absent")
  func unreadable() throws {
    // Directories replace the kernel's files, and files replace its links.
    let host = try FakeHost()
    try host.add(Self.address, driver: "vfio-pci", attributes: ["iommu_group": ""])
    let device = try #require(try host.device(Self.address))
    let file = "bus/pci/devices/\(Self.address)/vendor"
    func message(_ look: () throws(KernelError) -> Void) -> String? {
      do throws(KernelError) {
        try look()
        return nil
      } catch { return error.description }
    }
    let group = "readlink \(host.root)/bus/pci/devices/\(Self.address)/iommu_group: Invalid argument"
    #expect(message { () throws(KernelError) in _ = try device.group } == group)
    #expect(message { () throws(KernelError) in _ = try device.readiness } == group)
    #expect(throws: VFIOError.self) { try device.bind() }
    try host.remove(file)
    try host.make(file)
    let all = message { () throws(KernelError) in _ = try HostDevice.all(root: host.root) }
    #expect(all?.contains(file) == true && all?.contains("Is a directory") == true)
  }

  @Test("all devices are listed in the order of their addresses")
  func list() throws {
    let host = try FakeHost()
    for address in ["0000:02:00.0", "0000:00:1f.2", "0000:01:00.0"] { try host.add(address) }
    #expect(
      try HostDevice.all(root: host.root).map(\.address) == ["0000:00:1f.2", "0000:01:00.0", "0000:02:00.0"])
  }

  @Test("BARs and the ROM are listed with size and kind, without absent ones and windows of bridges")
  func resources() throws {
    let host = try FakeHost()
    let text = """
      0x00000000fe800000 0x00000000fe803fff 0x0000000000140204
      0x0000000000000000 0x0000000000000000 0x0000000000000000
      0x000000000000c000 0x000000000000c01f 0x0000000000040101
      0x00000000fe804000 0x00000000fe804fff 0x0000000000040200
      0x0000008000000000 0x00000083ffffffff 0x000000000014220c
      0x0000000000000000 0x0000000000000000 0x0000000000000000
      0x00000000fe000000 0x00000000fe03ffff 0x0000000000046200
      0x0000000000001000 0x0000000000001fff 0x0000000000000101
      """
    try host.add(Self.address, attributes: ["resource": text])
    let resources = try #require(try host.device(Self.address)).resources
    #expect(resources.map(\.index) == [0, 2, 3, 4, 6])
    #expect(resources.map(\.size) == [16 << 10, 32, 4096, 16 << 30, 256 << 10])
    #expect(resources.map(\.kind) == ["mem64", "io", "mem32", "mem64 prefetchable", "mem32 prefetchable"])
  }

  @Test(
    "an invalid resource file has no resources",
    arguments: ["", "\n\n", "0x1", "a b c", "0x2000 0x1000 0x200", "0x0 0xffffffffffffffff 0x200"])
  func badResources(_ text: String) throws {
    let host = try FakeHost()
    try host.add(Self.address, attributes: ["resource": text])
    #expect(try #require(try host.device(Self.address)).resources == [])
  }

  // MARK: Readiness

  private static func readiness(_ host: FakeHost) throws -> HostDevice.Readiness {
    try #require(try host.device(address)).readiness
  }

  @Test("a device bound to vfio-pci and alone in its group is ready")
  func ready() throws {
    let host = try FakeHost()
    try host.add(Self.address, driver: "vfio-pci", group: "3")
    #expect(try Self.readiness(host) == .ready)
    #expect(try Self.readiness(host).description == "ready")
  }

  @Test("a device with a driver of the host is reported as bound to that driver")
  func bound() throws {
    let host = try FakeHost()
    try host.add(Self.address, driver: "nvme", group: "3")
    let state = try Self.readiness(host)
    #expect(state == .bound(driver: "nvme", address: Self.address))
    #expect(state.description == "bound to nvme")
  }

  @Test("a device without a driver is reported as not bound")
  func unbound() throws {
    let host = try FakeHost()
    try host.add(Self.address, group: "3")
    let state = try Self.readiness(host)
    #expect(state == .bound(driver: nil, address: Self.address))
    #expect(state.description == "not bound to a driver")
  }

  @Test("a device without an IOMMU group cannot be passed through")
  func noGroup() throws {
    let host = try FakeHost()
    try host.add(Self.address, driver: "vfio-pci")
    let state = try Self.readiness(host)
    #expect(state == .noGroup)
    #expect(state.description == "in no IOMMU group")
  }

  @Test("a bridge stays with the host")
  func bridge() throws {
    let host = try FakeHost()
    try host.add(Self.address, driver: "pcieport", group: "3", classCode: "0x060400")
    #expect(try Self.readiness(host) == .bridge)
    #expect(throws: VFIOError.self) { try #require(try host.device(Self.address)).bind() }
    #expect(try host.read("bus/pci/devices/\(Self.address)/driver_override") == "")
  }

  @Test("devices of drivers of the host are named if they share the group")
  func shared() throws {
    let host = try FakeHost()
    try host.add(Self.address, driver: "vfio-pci", group: "7")
    try host.add("0000:01:00.1", driver: "nvme", group: "7")
    try host.add("0000:01:00.2", driver: "vfio-pci", group: "7")
    try host.add("0000:01:00.3", group: "7")
    try host.add("0000:00:1c.0", driver: "pcieport", group: "7", classCode: "0x060400")
    try host.add("0000:02:00.0", driver: "e1000e", group: "7")
    try host.add("0000:03:00.0", driver: "e1000e", group: "8")
    let state = try Self.readiness(host)
    #expect(
      state.description
        == "in IOMMU group 7 with 0000:01:00.1 (nvme), 0000:02:00.0 (e1000e), which the host uses")
    #expect(try #require(try host.device(Self.address)).groupMembers.count == 6)
  }

  /// 64 bytes of configuration space with a header type. The text preserves the bytes.
  private static func header(_ type: UInt8) -> String {
    String(repeating: "\u{01}", count: 14) + String(UnicodeScalar(type))
      + String(repeating: "\u{01}", count: 49)
  }

  @Test(
    "the header type decides if a device is a bridge, not the class",
    arguments: [
      ("0x068000", 0, false), ("0x060100", 0, false), ("0x060400", 1, true), ("0x060700", 2, true),
      ("0x028000", 1, true), ("0x010802", 0xFF, false),
    ] as [(String, UInt8, Bool)])
  func headerType(_ classCode: String, _ type: UInt8, _ isBridge: Bool) throws {
    let host = try FakeHost()
    try host.add(
      Self.address, driver: "vfio-pci", group: "3", classCode: classCode,
      attributes: ["config": Self.header(type)])
    #expect(try #require(try host.device(Self.address)).isBridge == isBridge)
    #expect(try Self.readiness(host) == (isBridge ? .bridge : .ready))
  }

  @Test("an ISA bridge with a driver of the host makes its group non-viable")
  func isaBridge() throws {
    let host = try FakeHost()
    try host.add(Self.address, driver: "vfio-pci", group: "3")
    try host.add(
      "0000:00:1f.0", driver: "lpc_ich", group: "3", classCode: "0x060100",
      attributes: ["config": Self.header(0)])
    try host.add(
      "0000:00:1c.0", driver: "pcieport", group: "3", classCode: "0x060400",
      attributes: ["config": Self.header(1)])
    #expect(
      try Self.readiness(host)
        == .shared(group: "3", others: [.init(address: "0000:00:1f.0", driver: "lpc_ich")]))
  }

  @Test(
    "the driver of a member decides if the group is viable, not its class or header",
    arguments: [
      ("pcieport", 1, true), ("pci-stub", 0, true), ("yenta_cardbus", 2, false), ("shpchp", 1, false),
    ] as [(String, UInt8, Bool)])
  func member(_ driver: String, _ header: UInt8, _ isViable: Bool) throws {
    let host = try FakeHost(drivers: ["vfio-pci", driver])
    try host.add(Self.address, driver: "vfio-pci", group: "3")
    try host.add(
      "0000:00:1c.0", driver: driver, group: "3", classCode: "0x060400",
      attributes: ["config": Self.header(header)])
    #expect(
      try Self.readiness(host)
        == (isViable ? .ready : .shared(group: "3", others: [.init(address: "0000:00:1c.0", driver: driver)]))
    )
  }

  @Test("a variant of vfio-pci is a VFIO driver if the device has a VFIO device")
  func variant() throws {
    let host = try FakeHost(drivers: ["vfio-pci", "mlx5_vfio_pci", "mlx5_core"])
    try host.add(Self.address, driver: "mlx5_vfio_pci", group: "3")
    #expect(try Self.readiness(host) == .bound(driver: "mlx5_vfio_pci", address: Self.address))
    try host.make("bus/pci/devices/\(Self.address)/vfio-dev/vfio0")
    #expect(try Self.readiness(host) == .ready)
    try host.add("0000:01:00.1", driver: "mlx5_core", group: "3")
    #expect(
      try Self.readiness(host)
        == .shared(group: "3", others: [.init(address: "0000:01:00.1", driver: "mlx5_core")]))
  }

  @Test("reserved IOVA ranges are the ranges that VFIO does not map")
  func reservedAddresses() throws {
    let host = try FakeHost()
    try host.add(Self.address, driver: "vfio-pci", group: "3")
    let device = try #require(try host.device(Self.address))
    #expect(try device.reservedAddresses == [])
    let text = """
      0x000000007d000000 0x000000007effffff direct-relaxable
      0x00000000fee00000 0x00000000feefffff msi
      0x000000fd00000000 0x000000ffffffffff reserved
      nonsense
      0x2 0x1 reserved
      """
    try host.write(text, to: "kernel/iommu_groups/3/reserved_regions")
    #expect(try device.reservedAddresses == [0xFEE0_0000...0xFEEF_FFFF, 0xFD_0000_0000...0xFF_FFFF_FFFF])
  }
}
