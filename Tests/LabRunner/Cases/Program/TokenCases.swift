// SPDX-License-Identifier: Apache-2.0

/// A virtual function whose physical function is also bound to vfio-pci.
enum TokenCases {
  static let all: [Case] = [
    Case(
      "vf-token", "a virtual function opens with the token that its physical function's owner has set",
      limit: 90
    ) { bench in
      guard bench.vmm == "sluice" else { throw Skipped("only for Sluice") }
      try VirtualFunction.givePhysical()
      defer { restore(bench) }
      let token = "2ab74924-c335-45f4-9b16-8569e5b08258"
      let other = "2ab74924-c335-45f4-9b16-8569e5b08259"
      let watch = try WatchGuest(bench, ["\(Address.physicalFunction),vf-token=\(token)"])
      try VirtualFunction.makeVirtual()
      let kernel = try bench.guest("hello")
      func refused(_ label: String, _ device: String, _ words: [String]) -> BadInput {
        BadInput(
          label: label, arguments: ["run", "--kernel", kernel, "--device", device],
          words: [Address.virtualFunction, "vf-token=uuid"] + words)
      }
      let remark = try BadInput.check(
        [
          refused("no token", Address.virtualFunction, ["has a vf token"]),
          refused("another token", "\(Address.virtualFunction),vf-token=\(other)", ["is not that"]),
          BadInput(
            label: "unneeded token",
            arguments: ["run", "--kernel", kernel, "--device", "\(Address.smallDrive),vf-token=\(token)"],
            words: [Address.smallDrive, "leave vf-token= out"]),
        ], bench)
      let device = "\(Address.virtualFunction),vf-token=\(token)"
      _ = try BareMetalGuest("hello", [device], append: "processors=1").check(bench, as: "function")
      _ = try watch.finish()
      return "\(remark); the same token opens it"
    }
  ]

  /// Rebinds the physical function to its driver. If that fails, later cases fail.
  private static func restore(_ bench: CaseContext) {
    do { try VirtualFunction.takeBack() } catch {
      bench.note("the physical function cannot be rebound to its driver: \(sentence(error))")
    }
  }
}
