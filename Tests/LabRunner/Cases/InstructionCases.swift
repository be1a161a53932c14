// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Cases with the guest `instructions`. The result of an instruction depends neither on the state of the
/// windows that it accesses nor on the policy that opens them.
enum InstructionCases {
  static let all: [Case] = [
    Case(
      "instructions", "small guest: every kind of instruction on armed, open and closed windows", limit: 120
    ) { context in try guest(under: context.vmm).check(context) },
    Case(
      "instructions-policies", "small guest: the results are equal under each bar-map= policy",
      limit: 300, isLong: true
    ) { context in
      guard context.vmm == "sluice" else { return try guest(under: context.vmm).check(context) }
      var facts: [(policy: String, facts: Observations)] = []
      var remark = ""
      for policy in ["on-fault", "on-enable", "eager"] {
        let label = "guest-\(policy)"
        remark = try guest(policy).check(context, as: label)
        var one = Observations()
        one.add(probe: try String(contentsOf: context.file("\(label).log"), encoding: .utf8))
        facts.append((policy, one))
      }
      return "\(remark) under each policy; \(try same(facts)) results are equal under each"
    },
    Case(
      "instructions-together", "small guest: four vCPUs access one armed window concurrently",
      limit: 240
    ) { context in
      try guest(cpus: 4, append: "part=2 rounds=200").check(context)
    },
    Case(
      "instructions-unmapped",
      "small guest: instructions that KVM cannot emulate raise #UD on closed windows",
      limit: 60
    ) { context in
      let remark = try guest(append: "part=1").check(context)
      guard context.vmm == "sluice" else { return remark }
      let errors = try String(contentsOf: context.file("guest.err"), encoding: .utf8)
      let warnings = errors.split(separator: "\n").count { $0.contains("#UD") }
      try context.require(warnings == 1, "\(warnings) warnings of #UD, expected 1: \(errors)")
      return remark
    },
  ]

  /// Returns the guest with its three devices, all under one policy.
  ///
  /// - Parameters:
  ///   - policy: The value of `bar-map` for the devices. Only Sluice has this policy.
  ///   - vmm: The VMM. Sluice places two functions of one slot in one slot, QEMU in separate slots.
  ///   - cpus: The number of vCPUs.
  ///   - append: The words of the guest's command line that do not depend on the VMM.
  static func guest(
    _ policy: String = "on-fault", under vmm: String = "sluice", cpus: Int = 1, append: String = "part=0"
  ) -> BareMetalGuest {
    if vmm != "sluice" {
      return BareMetalGuest(
        "instructions", Address.pair + [Address.bigDrive], append: "edu=8 memory=16 table=24 \(append)",
        cpus: cpus)
    }
    // The devices are edu and ivshmem with 16 MiB, which share a slot, and a drive.
    let devices = Address.pair + [Address.bigDrive]
    return BareMetalGuest(
      "instructions", devices.map { "\($0),peer-dma=off,bar-map=\(policy)" },
      append: "edu=8 memory=9 table=16 \(append)", cpus: cpus)
  }

  /// Requires equal results under every policy. Returns the number of results.
  private static func same(_ all: [(policy: String, facts: Observations)]) throws -> Int {
    guard let first = all.first, first.facts.keys.count > 100 else {
      throw Failed("\(all.first?.facts.keys.count ?? 0) results, expected more than 100")
    }
    for (policy, facts) in all.dropFirst() {
      guard facts.keys == first.facts.keys else {
        throw Failed("\(policy) has other result keys than the first policy")
      }
      let different = facts.keys.filter { facts.values[$0] != first.facts.values[$0] }
      guard different.isEmpty else {
        let shown = different.prefix(5).map {
          "\($0): \(facts.values[$0] ?? "") and \(first.facts.values[$0] ?? "")"
        }
        throw Failed(
          "\(different.count) results differ between \(policy) and \(first.policy): \(shown.joined(separator: "; "))"
        )
      }
    }
    return first.facts.keys.count
  }
}
