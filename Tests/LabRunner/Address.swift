// SPDX-License-Identifier: Apache-2.0

/// Where L1 has its devices.
enum Address {
  static let edu = "0000:00:05.0"
  static let bigDrive = "0000:00:06.0"
  static let network = "0000:00:07.0"
  static let testDevice = "0000:00:08.0"
  static let sharedMemory = "0000:00:09.0"
  static let smallDrive = "0000:00:0a.0"
  static let usb = "0000:00:0b.0"
  /// A conventional bridge: what is behind it shares one IOMMU group.
  static let bridge = "0000:00:0c.0"

  /// The functions that cases pass through.
  static let assignable = [edu, bigDrive, network, testDevice, sharedMemory, smallDrive, usb]
}
