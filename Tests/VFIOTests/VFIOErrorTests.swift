// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import VFIO

@Suite struct VFIOErrorTests {
  private static let address = "0000:01:00.0"

  private static func kernel(_ errno: Int32) -> KernelError { KernelError("asked", errno: errno) }

  private static let about: [VFIOError] = [
    .noDevice(address), .notReady(address, .noGroup), .notViable(device: address, group: "5"),
    .noDriver(address), .notBound(address, driver: nil), .binding(address, kernel(5)),
    .device(address, kernel(5)), .group(device: address, group: "5", kernel(5)),
    .noIsolation(device: address, group: "5", kernel(5)), .token(device: address, isGiven: true, kernel(5)),
    .noSpare(address), .needlessToken(device: address, kernel(5)), .unknownToken(device: address, kernel(5)),
    .held(device: address, cdev: "vfio3", group: "5", kernel(5)),
  ]

  @Test("an error about a device begins with its address", arguments: about)
  func device(_ error: VFIOError) {
    #expect(error.description.hasPrefix("device 0000:01:00.0"))
  }

  private static let wrapped: [VFIOError] = [
    .noContainer(kernel(5)), .group(device: address, group: "5", kernel(5)), .binding(address, kernel(5)),
    .device(address, kernel(5)), .noIsolation(device: address, group: "5", kernel(5)),
    .token(device: address, isGiven: false, kernel(5)), .needlessToken(device: address, kernel(5)),
  ]

  @Test("the message contains the operation and the kernel's reason", arguments: wrapped)
  func cause(_ error: VFIOError) {
    #expect(error.description.contains("asked: Input/output error"))
  }

  private static let meanings: [(VFIOError, String)] = [
    (.noContainer(kernel(KernelError.noEntry)), "VFIO is not loaded"),
    (.noContainer(kernel(KernelError.accessDenied)), "this user may not use VFIO"),
    (.version(7), "the kernel has version 7, Sluice needs 0"), (.noType1, "no type1v2 IOMMU"),
    (.group(device: address, group: "5", kernel(KernelError.busy)), "another process uses IOMMU group 5"),
    (
      .group(device: address, group: "5", kernel(KernelError.accessDenied)),
      "this user may not use IOMMU group 5"
    ),
    (.group(device: address, group: "5", kernel(KernelError.noEntry)), "VFIO has no IOMMU group 5"),
    (.noIsolation(device: address, group: "5", kernel(1)), "does not isolate IOMMU group 5"),
    (.token(device: address, isGiven: false, kernel(13)), "its physical function has a VF token"),
    (.token(device: address, isGiven: true, kernel(13)), "the VF token is not the token of the process"),
    (.needlessToken(device: address, kernel(22)), "there is no VF token"),
    (
      .unknownToken(device: address, kernel(22)),
      "the kernel accepts no VF token there (Linux 7.0 is the first"
    ),
    (
      .held(device: address, cdev: "vfio3", group: "5", kernel(16)),
      "another process has the device open, by /dev/vfio/devices/vfio3 or by /dev/vfio/5"
    ),
  ]

  @Test("the message contains the meaning of an errno that has only one", arguments: meanings)
  func meaning(_ error: VFIOError, _ text: String) {
    #expect(error.description.contains(text))
  }
}
