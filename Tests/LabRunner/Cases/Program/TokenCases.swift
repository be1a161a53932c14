// SPDX-License-Identifier: Apache-2.0

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
      let watch = try WatchGuest(context, ["\(Address.physicalFunction),vf-token=\(token)"])
      try VirtualFunction.createVirtual()
      let kernel = try context.guest("hello")
      func refused(_ label: String, _ device: String, _ words: [String]) -> BadInput {
        BadInput(
          label: label, arguments: ["run", "--kernel", kernel, "--device", device],
          words: [Address.virtualFunction, "vf-token=uuid"] + words)
      }
      let remark = try BadInput.check(
        [
          refused("no token", Address.virtualFunction, ["has a vf token"]),
          refused("another token", "\(Address.virtualFunction),vf-token=\(other)", ["is not the token"]),
          BadInput(
            label: "unneeded token",
            arguments: ["run", "--kernel", kernel, "--device", "\(Address.smallDrive),vf-token=\(token)"],
            words: [Address.smallDrive, "leave vf-token= out"]),
        ], context)
      let device = "\(Address.virtualFunction),vf-token=\(token)"
      _ = try BareMetalGuest("hello", [device], append: "processors=1").check(context, as: "function")
      _ = try watch.finish()
      return "\(remark); the same token opens it"
    }
  ]

  /// Rebinds the physical function to its driver. If that fails, later cases fail.
  private static func restore(_ context: CaseContext) {
    do { try VirtualFunction.restore() } catch {
      context.note("the physical function cannot be rebound to its driver: \(sentence(error))")
    }
  }
}
