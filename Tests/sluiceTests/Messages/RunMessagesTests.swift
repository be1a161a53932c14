// SPDX-License-Identifier: Apache-2.0

import Boot
import Linux
import Passthrough
import Sandbox
import Seams
import Testing
import VFIO
import VMM

@testable import sluice

@Suite struct RunMessagesTests {
  private static let kernel = KernelError("asked", errno: KernelError.invalid)
  private static let function = FunctionError(device: "0000:01:00.0", cause: OperationError(kernel))

  @Test(
    "an error of a run has subject, cause and remedy",
    arguments: [
      (
        .boot(.commandLineTooLong(length: 11, limit: 10)),
        "kernel command line: 11 bytes, but this kernel accepts at most 10; shorten --append"
      ),
      (
        .vfio(.noDriver("0000:01:00.0")),
        "device 0000:01:00.0: the driver vfio-pci is not loaded; type 'sudo modprobe vfio-pci'"
      ),
      (.function(function), "device 0000:01:00.0: asked: Invalid argument"),
      (.release(function), "release: device 0000:01:00.0: asked: Invalid argument"),
      (
        .release(
          FunctionError(device: "0000:01:00.0", cause: OperationError("asked"), isReleasedWithoutReset: true)),
        "release: device 0000:01:00.0: asked; type 'echo 1 | sudo tee /sys/bus/pci/devices/0000:01:00.0/reset' before "
          + "another program uses the device"
      ),
      (
        .release(
          FunctionError(device: "vfio-user:/s", cause: OperationError("asked"), isReleasedWithoutReset: true)),
        "release: device vfio-user:/s: asked; start its process again before another program uses the device"
      ),
      (.sandbox(.library("seccomp_init", code: nil)), "seccomp_init: libseccomp failed"),
      (
        .sandbox(.refused(.landlock, kernel)),
        "layer landlock: asked: Invalid argument; leave 'landlock' out of --sandbox"
      ),
      (.vcpu(3, kernel), "vCPU 3: asked: Invalid argument"),
      (
        .placement(vcpu: 3, kernel),
        "vCPU 3: asked: Invalid argument; give another processor with --cpu-pin"
      ),
      (.mainThread(kernel), "main thread: asked: Invalid argument"),
      (
        .trace(path: "/t", kernel, lost: 3),
        "trace /t: asked: Invalid argument: 3 records are missing; free space on the file system, or give another "
          + "file with --trace"
      ),
      (.kernel(kernel), "asked: Invalid argument"),
      (.operation(OperationError("no room")), "no room"),
    ] as [(RunError, String)])
  func run(_ error: RunError, _ text: String) {
    #expect(error.message == text)
  }

  @Test("the reason of a warning has a remedy")
  func warning() {
    #expect(
      FunctionWarning.Reason.descriptorLimit.remedy == "raise the limit with 'ulimit -n' before the start")
    #expect(
      FunctionWarning.Reason.foreignDevices(["0000:03:00.0", "0000:03:00.1"]).remedy
        == "add --device 0000:03:00.0 and --device 0000:03:00.1 to give the VM the whole bus")
  }
}
