// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Creates the virtual function of L1's NVMe drive with SR-IOV, and binds it to vfio-pci.
///
/// NVMe 1.3 §8.5: the primary controller has all flexible queues and interrupts. Virtualization Management
/// commands assign some of them to the secondary controller. The secondary controller does not respond until
/// a command sets it online.
struct VirtualFunction {
  private static let interrupts: UInt32 = 1
  private static let queues: UInt32 = 0
  private static let secondary: UInt32 = 1

  static func make() throws {
    let name = try controller(below: path)
    let control = try FileHandle(forUpdating: URL(filePath: "/dev/\(name)"))
    let one = VirtualFunction(control: control.fileDescriptor)
    // From its next reset, the primary controller has only its private resources.
    try one.manage(0, action: 1, resource: interrupts, count: 0)
    try one.manage(0, action: 1, resource: queues, count: 0)
    try HostDevice.write("1", to: "/sys/class/nvme/\(name)/reset_controller")
    try HostDevice.write("0", to: "\(path)/sriov_drivers_autoprobe")
    try HostDevice.write("1", to: "\(path)/sriov_numvfs")
    try one.manage(secondary, action: 8, resource: interrupts, count: 2)
    try one.manage(secondary, action: 8, resource: queues, count: 2)
    try one.manage(secondary, action: 9, resource: 0, count: 0)
    try HostDevice(Address.virtualFunction).bind(to: "vfio-pci")
  }

  private static let path = "/sys/bus/pci/devices/\(Address.physicalFunction)"

  /// Binds the physical function to vfio-pci (module option enable_sriov), without a virtual function.
  static func bindPhysical() throws {
    try HostDevice.write("0", to: "\(path)/sriov_numvfs")
    try HostDevice.write("Y", to: "/sys/module/vfio_pci/parameters/enable_sriov")
    try HostDevice(Address.physicalFunction).bind(to: "vfio-pci")
  }

  /// Creates a virtual function of the physical function under vfio-pci, and binds it to vfio-pci.
  ///
  /// The program that uses the physical function must already run. In QEMU's emulation, a reset of that
  /// function removes the virtual functions and leaves VF Enable set. Linux then does not create them again.
  static func createVirtual() throws {
    try HostDevice.write("1", to: "\(path)/sriov_numvfs")
    try HostDevice(Address.virtualFunction).bind(to: "vfio-pci")
  }

  /// Binds the physical function to its host driver, and creates the virtual function again.
  static func restore() throws {
    try HostDevice.write("0", to: "\(path)/sriov_numvfs")
    try HostDevice(Address.physicalFunction).bind(to: "nvme")
    try make()
  }

  private let control: Int32

  /// Returns the character device that the driver creates after the drive responds.
  private static func controller(below path: String) throws -> String {
    let end = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < end {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: path + "/nvme")) ?? []  // absent
      let name = names.first { URL(filePath: "/dev/\($0)").exists }
      let state = name.flatMap { try? String(contentsOfFile: "/sys/class/nvme/\($0)/state", encoding: .utf8) }
      if let name, state == "live\n" { return name }
      usleep(100_000)
    }
    throw LabError("L1: \(Address.physicalFunction): nvme driver: the controller is not live after 20 s")
  }

  /// Sends a Virtualization Management command, opcode 0x1c, through NVME_IOCTL_ADMIN_CMD.
  private func manage(_ controller: UInt32, action: UInt32, resource: UInt32, count: UInt32) throws {
    var command = [UInt32](repeating: 0, count: 18)
    command[0] = 0x1c
    command[10] = controller << 16 | resource << 8 | action
    command[11] = count
    // SAFETY: `struct nvme_admin_cmd` has the 72 bytes of the array. The command has no data.
    let result = unsafe command.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return Int32(-1) }  // the array is not empty
      return unsafe ioctl(control, 0xc048_4e41, base)
    }
    guard result == 0 else {
      let reason = result < 0 ? "errno \(errno)" : "NVMe status \(result)"
      throw LabError(
        "L1: Virtualization Management: controller \(controller), action \(action), resource \(resource): \(reason)"
      )
    }
  }
}
