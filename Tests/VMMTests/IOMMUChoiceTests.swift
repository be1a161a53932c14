// SPDX-License-Identifier: Apache-2.0

import Linux
import Testing
import Trace

@testable import VMM

@Suite struct IOMMUChoiceTests {
  @Test("takes iommufd if it offers everything, and what the user requests in any case")
  func requested() {
    let all = IOMMUChoice.Facts(withoutCdev: [])
    #expect(IOMMUChoice(nil, all).interface == .iommufd)
    #expect(IOMMUChoice(.type1, all).interface == .type1)
    for (iommus, kernel) in [(["dmar0"], KernelVersion(6, 19)), (["dmar0", "dmar1"], KernelVersion(7, 3))] {
      let peers = IOMMUChoice.Facts(withoutCdev: [], peerTarget: "b", iommus: Set(iommus), kernel: kernel)
      #expect(IOMMUChoice(nil, peers).interface == .iommufd)
    }
    let token = IOMMUChoice.Facts(withoutCdev: [], kernel: KernelVersion(7, 0), tokenDevice: "c")
    #expect(IOMMUChoice(nil, token).interface == .iommufd)
    let none = IOMMUChoice.Facts(iommufdError: "open /dev/iommu: no", withoutCdev: ["0000:01:00.0"])
    #expect(IOMMUChoice(.iommufd, none).interface == .iommufd)
    #expect(IOMMUChoice(.iommufd, none).reason == "requested")
  }

  @Test(
    "takes type1 with the first reason against iommufd",
    arguments: [
      (IOMMUChoice.Facts(iommufdError: "open /dev/iommu: no", withoutCdev: ["a"]), "open /dev/iommu: no"),
      (IOMMUChoice.Facts(withoutCdev: ["a", "b"], peerTarget: "b"), "device a has no cdev"),
      (
        IOMMUChoice.Facts(withoutCdev: [], peerTarget: "b", kernel: KernelVersion(6, 18), tokenDevice: "c"),
        "peer DMA may reach the BARs of b: iommufd maps BARs since Linux 6.19"
      ),
      (
        IOMMUChoice.Facts(withoutCdev: [], peerTarget: "b"),
        "peer DMA may reach the BARs of b: iommufd maps BARs since Linux 6.19"
      ),
      (
        IOMMUChoice.Facts(
          withoutCdev: [], peerTarget: "b", kernel: KernelVersion(7, 3), lacksDMABuffers: true),
        "peer DMA may reach the BARs of b: the kernel exports no BARs as dma-bufs (CONFIG_PCI_P2PDMA)"
      ),
      (
        IOMMUChoice.Facts(
          withoutCdev: [], peerTarget: "b", iommus: ["dmar0", "dmar1"], kernel: KernelVersion(7, 2)),
        "peer DMA may reach the BARs of b: iommufd maps BARs for devices behind several IOMMUs since Linux 7.3"
      ),
      (
        IOMMUChoice.Facts(withoutCdev: [], tokenDevice: "c"),
        "device c has a VF token, which iommufd accepts since Linux 7.0"
      ),
    ])
  func type1(facts: IOMMUChoice.Facts, reason: String) {
    let choice = IOMMUChoice(nil, facts)
    #expect(choice.interface == .type1 && choice.reason == reason)
  }
}
