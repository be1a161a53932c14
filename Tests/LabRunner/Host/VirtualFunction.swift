// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Makes the virtual function of L1's NVMe drive with SR-IOV and gives it to vfio-pci.
///
/// NVMe 1.3 §8.5: the primary controller has all the flexible queues and interrupts; it gives some away by
/// Virtualization Management commands, and the secondary one answers nothing until it is told to come online.
struct VirtualFunction {
  private static let interrupts: UInt32 = 1
  private static let queues: UInt32 = 0
  private static let secondary: UInt32 = 1

  static func make() throws {
    let name = try controller(below: path)
    let control = try FileHandle(forUpdating: URL(filePath: "/dev/\(name)"))
    let one = VirtualFunction(control: control.fileDescriptor)
    // The primary one keeps its private resources only, from its next reset on.
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

  /// Gives the physical function to vfio-pci (module option enable_sriov), without a virtual one.
  static func givePhysical() throws {
    try HostDevice.write("0", to: "\(path)/sriov_numvfs")
    try HostDevice.write("Y", to: "/sys/module/vfio_pci/parameters/enable_sriov")
    try HostDevice(Address.physicalFunction).bind(to: "vfio-pci")
  }

  /// Makes a virtual function of the physical one that vfio-pci has, and gives it to vfio-pci, too.
  ///
  /// The program that has the physical function runs already: where QEMU is the host, a reset of that function
  /// removes the virtual ones and leaves VF Enable set, so that Linux does not make them again.
  static func makeVirtual() throws {
    try HostDevice.write("1", to: "\(path)/sriov_numvfs")
    try HostDevice(Address.virtualFunction).bind(to: "vfio-pci")
  }

  /// Gives the physical function to its own driver, and makes the virtual one anew.
  static func takeBack() throws {
    try HostDevice.write("0", to: "\(path)/sriov_numvfs")
    try HostDevice(Address.physicalFunction).bind(to: "nvme")
    try make()
  }

  private let control: Int32

  /// The character device that the driver makes once the drive answers.
  private static func controller(below path: String) throws -> String {
    let end = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < end {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: path + "/nvme")) ?? []  // not yet
      let name = names.first { URL(filePath: "/dev/\($0)").exists }
      let state = name.flatMap { try? String(contentsOfFile: "/sys/class/nvme/\($0)/state", encoding: .utf8) }
      if let name, state == "live\n" { return name }
      usleep(100_000)
    }
    throw LabError("L1: \(Address.physicalFunction) did not come up with its nvme driver")
  }

  /// Virtualization Management, opcode 0x1c, by NVME_IOCTL_ADMIN_CMD.
  private func manage(_ controller: UInt32, action: UInt32, resource: UInt32, count: UInt32) throws {
    var command = [UInt32](repeating: 0, count: 18)
    command[0] = 0x1c
    command[10] = controller << 16 | resource << 8 | action
    command[11] = count
    // SAFETY: `struct nvme_admin_cmd` has 72 bytes, those of the array; the command has no data.
    let result = unsafe command.withUnsafeMutableBytes { bytes in
      guard let base = bytes.baseAddress else { return Int32(-1) }  // it is not empty
      return unsafe ioctl(control, 0xc048_4e41, base)
    }
    guard result == 0 else {
      let reason = result < 0 ? "errno \(errno)" : "NVMe status \(result)"
      throw LabError("L1: controller \(controller), action \(action), resource \(resource): \(reason)")
    }
  }
}
