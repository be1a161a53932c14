// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing
import VFIO

@testable import sluice

@Suite struct DeviceMessagesTests {
  private static let address = "0000:01:00.0"

  private static func kernel(_ errno: Int32) -> KernelError { KernelError("asked", errno: errno) }

  @Test(
    "an error of VFIO has subject, operation, cause and remedy",
    arguments: [
      (
        .noContainer(kernel(KernelError.noEntry)),
        "asked: No such file or directory: VFIO is not loaded; type 'sudo modprobe vfio-pci'"
      ),
      (
        .noContainer(kernel(KernelError.accessDenied)),
        "asked: Permission denied: this user may not use VFIO; run as root, or type 'sudo chmod 0666 /dev/vfio/vfio'"
      ),
      (.noContainer(kernel(KernelError.io)), "asked: Input/output error"),
      (
        .version(7),
        "VFIO_GET_API_VERSION: the kernel has version 7, Sluice needs 0; use Linux 6.1 or newer with "
          + "CONFIG_VFIO_IOMMU_TYPE1"
      ),
      (
        .noType1,
        "VFIO_CHECK_EXTENSION: the kernel has no type1v2 IOMMU; use Linux 6.1 or newer with CONFIG_VFIO_IOMMU_TYPE1"
      ),
      (
        .noDevice(address),
        "device 0000:01:00.0: the host has no PCI device there; type 'sluice devices' to list them"
      ),
      (
        .notReady(address, .bound(driver: nil, address: address)),
        "device 0000:01:00.0: not bound to a driver; type 'sudo sluice bind 0000:01:00.0'"
      ),
      (
        .group(device: address, group: "5", kernel(KernelError.busy)),
        "device 0000:01:00.0: asked: Device or resource busy: another process uses IOMMU group 5; type 'sudo fuser -v "
          + "/dev/vfio/5' to find the process"
      ),
      (
        .group(device: address, group: "5", kernel(KernelError.notPermitted)),
        "device 0000:01:00.0: asked: Operation not permitted: this user may not use IOMMU group 5; type 'sudo chown "
          + "$USER /dev/vfio/5'"
      ),
      (
        .group(device: address, group: "5", kernel(KernelError.noEntry)),
        "device 0000:01:00.0: asked: No such file or directory: VFIO has no IOMMU group 5; type 'sudo sluice bind "
          + "0000:01:00.0'"
      ),
      (
        .group(device: address, group: "5", kernel(KernelError.io)),
        "device 0000:01:00.0: asked: Input/output error"
      ),
      (
        .notViable(device: address, group: "5"),
        "device 0000:01:00.0: VFIO_GROUP_GET_STATUS: IOMMU group 5 is not viable: some of its devices are bound to "
          + "drivers of the host; type 'sluice devices' to see the driver of each device"
      ),
      (
        .noDriver(address),
        "device 0000:01:00.0: the driver vfio-pci is not loaded; type 'sudo modprobe vfio-pci'"
      ),
      (
        .notBound(address, driver: "nvme"),
        "device 0000:01:00.0: bind: the kernel has bound nvme instead of vfio-pci; type 'sudo dmesg | tail' for the "
          + "kernel's reason"
      ),
      (
        .notBound(address, driver: nil),
        "device 0000:01:00.0: bind: the kernel has not bound vfio-pci; type 'sudo dmesg | tail' for the kernel's "
          + "reason"
      ),
      (
        .binding(address, kernel(KernelError.accessDenied)),
        "device 0000:01:00.0: asked: Permission denied; run the command with sudo"
      ),
      (.binding(address, kernel(KernelError.io)), "device 0000:01:00.0: asked: Input/output error"),
      (
        .noIsolation(device: address, group: "5", kernel(KernelError.notPermitted)),
        "device 0000:01:00.0: asked: Operation not permitted: the platform does not isolate IOMMU group 5; type 'sudo dmesg "
          + "| tail' for the reason; if interrupt remapping is missing, turn it on in the firmware, or load "
          + "vfio_iommu_type1 with allow_unsafe_interrupts=1 if you trust the guest; if the firmware demands an RMRR "
          + "for the device, turn off its legacy support in the firmware, or use another device"
      ),
      (
        .token(device: address, isGiven: false, kernel(KernelError.accessDenied)),
        "device 0000:01:00.0: asked: Permission denied: its physical function has a VF token, set by the process that "
          + "owns it through VFIO; \(token)"
      ),
      (
        .token(device: address, isGiven: true, kernel(KernelError.accessDenied)),
        "device 0000:01:00.0: asked: Permission denied: the VF token is not the token of the process that owns the "
          + "physical function through VFIO; \(token)"
      ),
      (
        .needlessToken(device: address, kernel(KernelError.invalid)),
        "device 0000:01:00.0: asked: Invalid argument: VFIO owns no physical function of the device, so there is no "
          + "VF token; leave vf-token= out"
      ),
      (
        .unknownToken(device: address, kernel(KernelError.invalid)),
        "device 0000:01:00.0: asked: Invalid argument: the kernel accepts no VF token there (Linux 7.0 is the first "
          + "that does); give --iommu type1"
      ),
      (
        .held(device: address, cdev: "vfio3", group: "5", kernel(KernelError.busy)),
        "device 0000:01:00.0: asked: Device or resource busy: another process has the device open, by "
          + "/dev/vfio/devices/vfio3 or by /dev/vfio/5; type 'sudo fuser -v /dev/vfio/devices/vfio3 /dev/vfio/5' to "
          + "find the process"
      ),
      (.device(address, kernel(KernelError.io)), "device 0000:01:00.0: asked: Input/output error"),
    ] as [(VFIOError, String)])
  func message(_ error: VFIOError, _ text: String) {
    #expect(error.message == text)
  }

  private static let token =
    "give '0000:01:00.0,vf-token=UUID' with the UUID that the other process has set (QEMU: vf-token=UUID of that "
    + "device; DPDK: --vfio-vf-token; else: VFIO_DEVICE_FEATURE_PCI_VF_TOKEN)"

  @Test(
    "a device that is not ready has a remedy with the commands to type",
    arguments: [
      (.ready, "ready"),
      (
        .bound(driver: "nvme", address: address),
        "bound to nvme; type 'sudo sluice bind 0000:01:00.0' to unbind it from that driver"
      ),
      (.bound(driver: nil, address: address), "not bound to a driver; type 'sudo sluice bind 0000:01:00.0'"),
      (
        .noGroup,
        "in no IOMMU group; turn on the IOMMU in the firmware and boot the host with 'intel_iommu=on' or "
          + "'amd_iommu=on'"
      ),
      (
        .shared(
          group: "7",
          others: [
            .init(address: "0000:01:00.1", driver: "nvme"), .init(address: "0000:02:00.0", driver: "e1000e"),
          ]),
        "in IOMMU group 7 with 0000:01:00.1 (nvme), 0000:02:00.0 (e1000e), which the host uses; type 'sudo sluice bind "
          + "0000:01:00.1' and 'sudo sluice bind 0000:02:00.0' to give the whole group to VFIO"
      ),
      (.bridge, "a bridge to another bus, which cannot be passed through"),
    ] as [(HostDevice.Readiness, String)])
  func readiness(_ state: HostDevice.Readiness, _ text: String) {
    #expect(state.message == text)
  }
}
