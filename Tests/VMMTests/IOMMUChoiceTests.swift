// SPDX-License-Identifier: Apache-2.0

import Testing
import Trace

@testable import VMM

@Suite struct IOMMUChoiceTests {
  @Test("takes iommufd if it offers everything, and what the user requests in any case")
  func requested() {
    let all = IOMMUChoice.Facts(withoutCdev: [])
    #expect(IOMMUChoice(nil, all).interface == .iommufd)
    #expect(IOMMUChoice(.type1, all).interface == .type1)
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
        IOMMUChoice.Facts(withoutCdev: [], peerTarget: "b", tokenDevice: "c"),
        "other devices may reach the BARs of b, which iommufd cannot map"
      ),
      (
        IOMMUChoice.Facts(withoutCdev: [], tokenDevice: "c"),
        "device c has a VF token, which iommufd accepts since Linux 7"
      ),
    ])
  func type1(facts: IOMMUChoice.Facts, reason: String) {
    let choice = IOMMUChoice(nil, facts)
    #expect(choice.interface == .type1 && choice.reason == reason)
  }
}
