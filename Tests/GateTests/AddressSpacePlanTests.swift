// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gate

@Suite struct AddressSpacePlanTests {
  private static func member(
    _ address: String, group: String? = nil, _ peer: PeerPolicy = .mapped(.onFault),
    except: [String: PeerPolicy] = [:]
  ) -> AddressSpacePlan.Member {
    var policies = DevicePolicies()
    policies.peerDMA = peer
    policies.peers = except
    return AddressSpacePlan.Member(address: address, group: group ?? address, policies: policies)
  }

  @Test("devices share one address space if every device has the same policy for all of them")
  func alike() {
    let plan = AddressSpacePlan([Self.member("a"), Self.member("b", .off), Self.member("c", .mapped(.eager))])
    #expect(plan.spaces == [["a", "b", "c"]])
    #expect(plan.policies(of: "a") == [.mapped(.onFault)])
    #expect(plan.policies(of: "b") == [.off])
    #expect(plan.policies(of: "c") == [.mapped(.eager)])
  }

  @Test("a device without peers is mapped for no device")
  func alone() {
    let plan = AddressSpacePlan([Self.member("a", .mapped(.eager))])
    #expect(plan.spaces == [["a"]])
    #expect(plan.policies(of: "a") == [.off])
    #expect(AddressSpacePlan([]).spaces == [])
  }

  @Test("the policy for peers applies to a device that may address its own BARs")
  func itself() {
    for policy in [PeerPolicy.off, .mapped(.onFault), .mapped(.onEnable), .mapped(.eager)] {
      let plan = AddressSpacePlan([Self.member("a", policy), Self.member("b", except: ["a": .off])])
      #expect(plan.policies(of: "a") == [policy])
      #expect(plan.policies(of: "a", reachesItself: true) == [policy])
      #expect(AddressSpacePlan([Self.member("a", policy)]).policies(of: "a", reachesItself: true) == [policy])
      #expect(plan.policies(of: "b") == [.off])
      #expect(plan.policies(of: "b", reachesItself: true) == [.off], "as for the peer")
    }
    let apart = AddressSpacePlan([Self.member("a", except: ["b": .off]), Self.member("b"), Self.member("c")])
    #expect(apart.devices == [["a", "b"], ["c"]])
    #expect(apart.policies(of: "c", reachesItself: true) == [.mapped(.onFault), .mapped(.onFault)])
  }

  @Test("devices that may reach a peer by different policies are in different address spaces")
  func pairs() {
    let plan = AddressSpacePlan([
      Self.member("a", except: ["b": .off]), Self.member("b"), Self.member("c"), Self.member("d"),
    ])
    #expect(plan.devices == [["a", "b"], ["c", "d"]])
    #expect(plan.policies(of: "a") == [.off, .mapped(.onFault)])
    #expect(plan.policies(of: "b") == [.mapped(.onFault), .mapped(.onFault)])
    #expect(plan.policies(of: "c") == [.mapped(.onFault), .mapped(.onFault)])
  }

  @Test("devices of one group share one address space, with the most eager policy")
  func group() {
    let plan = AddressSpacePlan([
      Self.member("a", group: "1"), Self.member("b", group: "1"),
      Self.member("c", .off, except: ["b": .mapped(.onEnable)]),
    ])
    #expect(plan.spaces == [["1"], ["c"]])
    #expect(plan.devices == [["a", "b"], ["c"]])
    #expect(plan.policies(of: "c") == [.mapped(.onEnable), .off])
  }

  @Test("every pair of devices has its policy, for random policies")
  func random() {
    var generator = SystemRandomNumberGenerator()
    let all: [PeerPolicy] = [.off, .mapped(.onFault), .mapped(.onEnable), .mapped(.eager)]
    for _ in 0..<500 {
      let names = ["a", "b", "c", "d", "e"]
      let members = names.map { name in
        Self.member(
          name, all.randomElement(using: &generator) ?? .off,
          except: [
            names.randomElement(using: &generator) ?? "a": all.randomElement(using: &generator) ?? .off
          ])
      }
      let plan = AddressSpacePlan(members)
      for target in members {
        for (space, devices) in plan.devices.enumerated() {
          for peer in devices where peer != target.address {
            #expect(plan.policies(of: target.address)[space] == target.policies.policy(for: peer))
          }
        }
      }
    }
  }
}

@Suite struct PolicyTests {
  @Test("a policy maps at its trigger and at every later trigger")
  func triggers() {
    let triggers: [Gate.MapTrigger] = [.move, .enable, .open]
    func included(_ policy: PeerPolicy) -> [Bool] { triggers.map(policy.includes) }
    #expect(included(.off) == [false, false, false])
    #expect(included(.mapped(.onFault)) == [false, false, true])
    #expect(included(.mapped(.onEnable)) == [false, true, true])
    #expect(included(.mapped(.eager)) == [true, true, true])
  }

  @Test("policies have the names of their command-line values")
  func names() {
    #expect(MappingPolicy.allCases.map(\.rawValue) == ["on-fault", "on-enable", "eager"])
    #expect(PeerPolicy("off") == .off)
    #expect(PeerPolicy("on-enable") == .mapped(.onEnable))
    #expect(PeerPolicy("on") == nil)
  }
}
