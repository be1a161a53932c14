// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gate

@Suite struct GateExplorerTests {
  /// Two windows in each of two BARs. Memory is disabled, as after a reset.
  private static let start = gate([0, 0, 2, 2])

  /// The same gate with adjoining windows in each BAR.
  private static let neighbours = gate([0, 0, 2, 2], areNeighbours: true)

  private static func gate(
    _ bars: [Int], areNeighbours: Bool = false, _ cpuPolicy: MappingPolicy = .onFault,
    _ peerPolicy: MappingPolicy = .onFault
  ) -> Gate {
    Gate(
      bars: bars, adjoins: bars.map { _ in areNeighbours }, conditions: .initial,
      cpuPolicy: cpuPolicy, peerPolicy: peerPolicy)
  }

  // A smaller number of states means that the world lacks a dimension.
  @Test(
    "the invariants hold in every interleaving of two vCPUs with COMMAND, D-state, reset, moves and faults",
    arguments: [
      ([0, 0, 2, 2], false, 50_000), ([0, 2, 4], false, 9_000), ([0, 0, 2], true, 60_000),
      ([0, 0, 0], true, 90_000),
    ])
  func real(_ bars: [Int], _ areNeighbours: Bool, _ least: Int) {
    let start = ContinuousClock.now
    let explorer = GateExplorer(Self.gate(bars, areNeighbours: areNeighbours))
    let time = ContinuousClock.now - start
    print(
      "gate explorer: windows in BARs \(bars)\(areNeighbours ? ", adjoining" : ""): \(explorer.count) states, \(explorer.steps) steps, "
        + "depth \(explorer.depth), \(time)")
    #expect(explorer.problem == nil)
    #expect(explorer.canOpenAll)
    #expect(explorer.count >= least)
  }

  @Test(
    "the invariants hold under every policy", arguments: MappingPolicy.allCases, MappingPolicy.allCases)
  func policies(_ cpuPolicy: MappingPolicy, _ peerPolicy: MappingPolicy) {
    let explorer = GateExplorer(Self.gate([0, 0], areNeighbours: true, cpuPolicy, peerPolicy))
    print(
      "gate explorer: bar-map=\(cpuPolicy.rawValue), peer-dma=\(peerPolicy.rawValue): "
        + "\(explorer.count) states, \(explorer.steps) steps, depth \(explorer.depth)")
    #expect(explorer.problem == nil)
    #expect(explorer.canOpenAll)
    #expect(explorer.count >= 10_000)
  }

  @Test("the explorer detects a gate with a fault", arguments: GateFault.allCases)
  func faulty(_ fault: GateFault) {
    let gate =
      fault.needsPolicy
      ? Self.gate([0, 0, 2, 2], .onFault, .eager) : fault.needsNeighbours ? Self.neighbours : Self.start
    let explorer = GateExplorer(FaultyGate(gate, fault))
    print("gate mutant: \(fault.rawValue): \(explorer.problem ?? "not detected")")
    #expect(explorer.problem != nil, "\(fault.rawValue)")
  }

  @Test("the explorer detects an owner with a fault", arguments: OwnerFault.allCases)
  func faulty(_ fault: OwnerFault) {
    let explorer = GateExplorer(Self.start, owner: fault)
    print("owner mutant: \(fault.rawValue): \(explorer.problem ?? "not detected")")
    #expect(explorer.problem != nil, "\(fault.rawValue)")
  }
}
