// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LabRunner

@Suite struct ForeignDeviceTests {
  @Test(
    "a device of VFIO is the descriptor of a group or a cdev",
    arguments: [
      ("anon_inode:[vfio-device]", true), ("/dev/vfio/devices/vfio12", true), ("/dev/vfio/5", false),
      ("/dev/vfio/vfio", false), ("/dev/iommu", false), ("anon_inode:kvm-vm", false),
    ])
  func target(_ target: String, _ isDevice: Bool) {
    #expect(ForeignDevice.isDevice(target) == isDevice)
  }
}
