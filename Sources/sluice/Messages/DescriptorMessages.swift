// SPDX-License-Identifier: Apache-2.0

import VMM

extension DescriptorProblem: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .variable: "start with 'sluice open', or unset LISTEN_PID"
    case .unknown:
      "give kvm, container, container.N, iommu, group.N, device.ADDRESS, spare.ADDRESS, vfio-user, vfio-user.N, devices, kernel, initrd, trace, console, notify or control"
    case .doubled, .shared: "pass each descriptor once, by one name"
    case .closed: "open it in the parent process, with a number from 3 on and without close-on-exec"
    case .wrong: "pass a file of that kind"
    case .missing: "pass it, or start with 'sluice open'"
    case .unused: "pass only the descriptors that the VM needs"
    case .path: "leave the option out"
    case .facts: "correct the line, or start with 'sluice open'"
    case .foreign(let address, _): "give --device \(address)"
    case .noFacts(let address): "name \(address) in 'sluice open' too, or leave its --device out"
    case .interface: "leave --iommu out"
    }
  }
}
