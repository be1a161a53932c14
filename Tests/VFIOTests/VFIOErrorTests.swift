// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing

@testable import VFIO

@Suite struct VFIOErrorTests {
  private static let address = "0000:01:00.0"

  private static func kernel(_ errno: Int32) -> KernelError { KernelError("asked", errno: errno) }

  private static let advised: [(VFIOError, String)] = [
    (.noContainer(kernel(KernelError.noEntry)), "'sudo modprobe vfio-pci'"),
    (.noContainer(kernel(KernelError.accessDenied)), "'sudo chmod 0666 /dev/vfio/vfio'"),
    (.noContainer(kernel(KernelError.notPermitted)), "run as root"),
    (.unsupported("VFIO_CHECK_EXTENSION"), "CONFIG_VFIO_IOMMU_TYPE1"),
    (.noDevice(address), "'sluice devices'"),
    (.notReady(address, .bound(driver: nil, address: address)), "'sluice bind 0000:01:00.0'"),
    (.group(device: address, group: "5", kernel(KernelError.busy)), "'sudo fuser -v /dev/vfio/5'"),
    (.group(device: address, group: "5", kernel(KernelError.accessDenied)), "'sudo chown $USER /dev/vfio/5'"),
    (.group(device: address, group: "5", kernel(KernelError.noEntry)), "'sluice bind 0000:01:00.0'"),
    (.notViable(device: address, group: "5"), "'sluice devices'"),
    (.noDriver(address), "'sudo modprobe vfio-pci'"),
    (.notBound(address, driver: "nvme"), "'dmesg | tail'"),
    (.binding(address, kernel(KernelError.accessDenied)), "type it with sudo"),
    (.container(kernel(KernelError.noMemory)), "'ulimit -l unlimited'"),
    (.noIsolation(device: address, group: "5", kernel(KernelError.notPermitted)), "interrupt remapping"),
    (
      .noIsolation(device: address, group: "5", kernel(KernelError.notPermitted)), "allow_unsafe_interrupts=1"
    ),
    (.noIsolation(device: address, group: "5", kernel(KernelError.notPermitted)), "RMRR"),
    (.token(device: address, isGiven: false, kernel(KernelError.accessDenied)), "vf-token=UUID"),
    (.token(device: address, isGiven: true, kernel(KernelError.accessDenied)), "which sets it"),
    (.needlessToken(device: address, kernel(KernelError.invalid)), "leave vf-token= out"),
  ]

  @Test("an error that a person can do something about says what to type", arguments: advised)
  func advice(_ error: VFIOError, _ advice: String) {
    #expect(error.description.contains(advice))
  }

  private static let about: [VFIOError] = [
    .noDevice(address), .notReady(address, .noGroup), .notViable(device: address, group: "5"),
    .noDriver(address), .notBound(address, driver: nil), .binding(address, kernel(5)),
    .device(address, kernel(5)), .group(device: address, group: "5", kernel(5)),
    .noIsolation(device: address, group: "5", kernel(5)), .token(device: address, isGiven: true, kernel(5)),
    .needlessToken(device: address, kernel(5)),
  ]

  @Test("an error about a device begins with its address", arguments: about)
  func device(_ error: VFIOError) {
    #expect(error.description.hasPrefix("device 0000:01:00.0"))
  }

  private static let wrapped: [VFIOError] = [
    .noContainer(kernel(5)), .group(device: address, group: "5", kernel(5)), .binding(address, kernel(5)),
    .device(address, kernel(5)), .container(kernel(5)),
  ]

  @Test("what was asked and what the kernel said is in the message", arguments: wrapped)
  func cause(_ error: VFIOError) {
    #expect(error.description.contains("asked: Input/output error"))
  }
}
