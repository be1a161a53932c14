// SPDX-License-Identifier: Apache-2.0

/// The PCI addresses of L1's devices.
enum Address {
  static let edu = "0000:00:05.0"
  static let bigDrive = "0000:00:06.0"
  static let network = "0000:00:07.0"
  static let testDevice = "0000:00:08.0"
  static let sharedMemory = "0000:00:09.0"
  static let smallDrive = "0000:00:0a.0"
  static let usb = "0000:00:0b.0"
  /// A USB controller with 16 MSI vectors and without MSI-X.
  static let messageUSB = "0000:00:0c.0"
  /// A conventional bridge. The devices behind it share one IOMMU group.
  static let bridge = "0000:00:0d.0"
  /// A SATA controller with a disk. It has MSI, INTx and a BAR of I/O ports.
  static let disk = "0000:00:0e.0"
  /// A drive that cases write to.
  static let scratchDrive = "0000:00:0f.0"

  /// A conventional SCSI controller (lsi53c895a) with a disk. It fetches its program from the RAM in BAR 2.
  /// Its BAR 1 is smaller than a page.
  static let scsi = "0000:06:00.0"
  /// A memory device whose BAR 2 has 16 GiB. It is not bound to a driver.
  static let largeMemory = "0000:00:1d.0"

  /// An edu device, alone behind a root port. Its name in QEMU's monitor is `plug`.
  static let plug = "0000:01:00.0"
  /// A network card that reports errors (AER), alone behind a root port.
  static let errorNetwork = "0000:02:00.0"
  /// Two functions of one PCI slot behind a root port: edu and ivshmem. Only a hot reset resets them.
  static let pair = ["0000:03:00.0", "0000:03:00.1"]
  /// An NVMe drive behind a root port. It stays bound to its host driver.
  static let physicalFunction = "0000:04:00.0"
  /// The virtual function of the same drive.
  static let virtualFunction = "0000:04:00.1"

  /// An NVMe drive that cases write to and unplug, alone behind a root port. Its name in QEMU's monitor is `hot`.
  static let hotDrive = "0000:07:00.0"
  /// The root port of ``hotDrive``.
  static let hotPort = "0000:00:03.0"

  /// The root ports of the first buses.
  static let ports = ["0000:00:10.0", "0000:00:11.0", "0000:00:12.0", "0000:00:13.0"]

  /// The functions that cases pass through.
  static let assignable =
    [
      edu, bigDrive, network, testDevice, sharedMemory, smallDrive, usb, messageUSB, disk, scratchDrive, plug,
      errorNetwork, scsi, hotDrive,
    ] + pair
}
