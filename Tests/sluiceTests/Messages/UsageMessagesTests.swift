// SPDX-License-Identifier: Apache-2.0

import PCI
import Testing
import VMM

@testable import sluice

@Suite struct UsageMessagesTests {
  @Test(
    "wrong usage has option, cause and remedy",
    arguments: [
      (.memoryTooSmall(4096), "--memory: 4096 bytes: a guest needs at least 2M; give a larger size"),
      (
        .memoryNotAligned(3 << 20, pageSize: 2 << 20),
        "--memory: 3145728 bytes: not a multiple of the page size, 2048K; give a multiple of 2048K"
      ),
      (.cpuCount(0), "--cpus: 0 is not between 1 and 255; give a number from 1 to 255"),
      (
        .pinnedCPU(2, cpus: 2),
        "--cpu-pin: vCPU 2: the VM has only vCPUs 0 to 1; give one of these, or a larger --cpus"
      ),
      (.deviceCount(32), "--device: 32 devices: the root bus has PCI slots for 31; give fewer devices"),
    ] as [(UsageProblem, String)])
  func usage(_ problem: UsageProblem, _ text: String) {
    #expect(problem.message == text)
  }

  @Test("wrong usage of a device names the device")
  func device() throws {
    let address = try #require(DeviceName("01:00.0"))
    #expect(
      UsageProblem.duplicate(address).message
        == "--device: 0000:01:00.0: named twice, but a device can be in only one PCI slot; give it once")
    #expect(
      UsageProblem.unknownPeer("0000:02:00.0", of: address).message
        == "--device: 0000:01:00.0: its peer 0000:02:00.0 is not another device of this VM; add --device "
        + "0000:02:00.0, or leave peer-dma=POLICY@0000:02:00.0 out")
    let server = try #require(DeviceName("vfio-user:/s"))
    #expect(
      UsageProblem.reconnectWithoutPort(server).message
        == "--device: vfio-user:/s: reconnect= without a port, which the guest needs to find the device again; give "
        + "--device vfio-user:/s,port,reconnect=SECONDS")
  }
}
