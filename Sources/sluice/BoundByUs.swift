// SPDX-License-Identifier: Apache-2.0

import Linux
import PCI
import VFIO
import VMM

/// The devices that this process has bound to vfio-pci.
struct BoundByUs {
  private var devices: [HostDevice] = []

  /// Binds a device of the host. A device that is bound already stays bound.
  mutating func bind(_ name: DeviceName) throws {
    guard let address = name.address else { return }
    let device = try hostDevice(address)
    let wasBound: Bool
    do throws(KernelError) { wasBound = try device.hasVFIODriver } catch {
      throw VFIOError.binding(device.address, error)
    }
    if !wasBound { devices.append(device) }
    try device.bind()
  }

  /// Unbinds the devices, the last one first. A device whose bind was refused has its driver, and keeps it.
  func unbind() {
    for device in devices.reversed() {
      do throws(VFIOError) { try device.unbind() } catch {
        writeStandardError("sluice: \(OpenProblem.left(device.address, cause: error.description).message)\n")
      }
    }
  }
}
