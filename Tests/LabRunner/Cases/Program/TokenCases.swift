// SPDX-License-Identifier: Apache-2.0

import Linux

/// A virtual function whose physical function is also bound to vfio-pci.
enum TokenCases {
  static let all: [Case] = [
    Case(
      "vf-token", "a virtual function opens with the token that its physical function's owner has set",
      limit: 90
    ) { context in
      guard context.vmm == "sluice" else { throw Skipped("only for Sluice") }
      try VirtualFunction.bindPhysical()
      defer { restore(context) }
      let token = "2ab74924-c335-45f4-9b16-8569e5b08258"
      let other = "2ab74924-c335-45f4-9b16-8569e5b08259"
      let kernel = try context.guest("hello")
      func refused(_ label: String, _ device: String, _ words: [String], iommu: [String]) -> BadInput {
        BadInput(
          label: label, arguments: ["run", "--kernel", kernel, "--device", device] + iommu, words: words)
      }
      let owner = "\(Address.physicalFunction),vf-token=\(token)"
      var iommu = context.manifest.iommuOption
      if !iommu.isEmpty, !acceptsTokensInIOMMUFD {
        let words = [Address.physicalFunction, "VFIO_DEVICE_BIND_IOMMUFD", "Linux 7.0", "give --iommu type1"]
        _ = try BadInput.check([refused("iommufd", owner, words, iommu: iommu)], context)
        iommu = ["--iommu", "type1"]
      }
      var physical = BareMetalGuest("watch", [owner], append: "strange=0")
      physical.options = iommu
      let watch = try WatchGuest(context, physical)
      try VirtualFunction.createVirtual()
      func denied(_ label: String, _ device: String, _ words: [String]) -> BadInput {
        refused(label, device, [Address.virtualFunction, "vf-token=uuid"] + words, iommu: iommu)
      }
      let remark = try BadInput.check(
        [
          denied("no token", Address.virtualFunction, ["has a vf token"]),
          denied("another token", "\(Address.virtualFunction),vf-token=\(other)", ["is not the token"]),
          refused(
            "unneeded token", "\(Address.smallDrive),vf-token=\(token)",
            [Address.smallDrive, "leave vf-token= out"], iommu: iommu),
        ], context)
      var virtual = BareMetalGuest(
        "hello", ["\(Address.virtualFunction),vf-token=\(token)"], append: "processors=1")
      virtual.options = iommu
      _ = try virtual.check(context, as: "function")
      _ = try watch.finish()
      return "\(remark); the same token opens it"
    }
  ]

  /// True if the kernel of L1 reads VF tokens in VFIO_DEVICE_BIND_IOMMUFD. Linux 7.0 is the first.
  private static var acceptsTokensInIOMMUFD: Bool {
    L1Runner.isAtLeast(KernelVersion(7, 0))
  }

  /// Rebinds the physical function to its driver. If that fails, later cases fail.
  private static func restore(_ context: CaseContext) {
    do { try VirtualFunction.restore() } catch {
      context.note("the physical function cannot be rebound to its driver: \(sentence(error))")
    }
  }
}
