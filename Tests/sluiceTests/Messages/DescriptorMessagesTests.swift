// SPDX-License-Identifier: Apache-2.0

import PCI
import Testing
import Trace
import VMM

@testable import sluice

@Suite struct DescriptorMessagesTests {
  @Test("a problem of a descriptor has the descriptor, the cause and the remedy")
  func messages() throws {
    let address = try #require(Address("01:00.0"))
    let messages: [(DescriptorProblem, String)] = [
      (
        .variable("LISTEN_FDS", cause: "not a number from 0 to 128"),
        "LISTEN_FDS: not a number from 0 to 128; start with 'sluice open', or unset LISTEN_PID"
      ),
      (
        .unknown("x"),
        "descriptor 'x': unknown name; give kvm, container, container.N, iommu, group.N, device.ADDRESS, spare.ADDRESS, vfio-user, "
          + "vfio-user.N, devices, "
          + "kernel, initrd, trace, console, notify or control"
      ),
      (.doubled(.kvm), "descriptor 'kvm': passed twice; pass each descriptor once, by one name"),
      (
        .shared(.kvm, .trace, number: 3),
        "descriptor 'kvm': number 3 is the descriptor 'trace' too; pass each descriptor once, by one name"
      ),
      (
        .closed(.initrd, number: 9),
        "descriptor 'initrd': number 9 is not open, or below 3; open it in the parent process, with a number from 3 on "
          + "and without close-on-exec"
      ),
      (
        .wrong(.group("4"), number: 9),
        "descriptor 'group.4': number 9 is not an open /dev/vfio/4; pass a file of that kind"
      ),
      (
        .missing(.device(address), cause: "the VM's devices need it"),
        "descriptor 'device.0000-01-00.0': not passed, but the VM's devices need it; pass it, or start with 'sluice open'"
      ),
      (
        .unused(.iommu, cause: "no device of the VM needs it"),
        "descriptor 'iommu': passed, but no device of the VM needs it; pass only the descriptors that the VM needs"
      ),
      (
        .path(.trace), "descriptor 'trace': passed, but a path names the file too; leave the option out"
      ),
      (
        .facts(line: 2, cause: "an unknown field"),
        "descriptor 'devices': line 2: an unknown field; correct the line, or start with 'sluice open'"
      ),
      (
        .foreign(address, line: 1),
        "descriptor 'devices': line 1: the VM has no device 0000:01:00.0; give --device 0000:01:00.0"
      ),
      (
        .noFacts(address),
        "descriptor 'devices': no line for 0000:01:00.0, a device of the VM; name 0000:01:00.0 in 'sluice open' too, or "
          + "leave its --device out"
      ),
      (
        .interface(.iommu, requested: .type1),
        "descriptor 'iommu': passed, but the requested interface to the IOMMU is type1; leave --iommu out"
      ),
    ]
    for (problem, message) in messages { #expect(problem.message == message) }
  }
}
