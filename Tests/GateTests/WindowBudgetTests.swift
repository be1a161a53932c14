// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Gate

@Suite struct WindowBudgetTests {
  private typealias Demand = WindowBudget.Demand

  private static func whole(_ sizes: UInt64...) -> [(size: UInt64, areas: [Range<UInt64>])] {
    sizes.map { ($0, [0..<$0]) }
  }

  private static let ample = (slots: 32_000, mappings: [65_000])

  @Test("windows have the minimum size if slots and mappings suffice")
  func ample() {
    let demands = [Demand](
      repeating: Demand(Self.whole(128 << 30, 16 << 20), .onFault, peers: [.mapped(.onFault)]), count: 31)
    let budget = WindowBudget(demands, slots: Self.ample.slots, mappings: Self.ample.mappings)
    #expect(budget.windowsPerBAR(.onFault) == 128)
    #expect(WindowBudget([], slots: 0, mappings: []).windowsPerBAR(.onFault) == 128)
  }

  @Test("an area whose windows open together is one window", arguments: [MappingPolicy.onEnable, .eager])
  func together(_ policy: MappingPolicy) {
    let demand = Demand(Self.whole(128 << 30), policy, peers: [.off])
    let budget = WindowBudget([demand], slots: Self.ample.slots, mappings: Self.ample.mappings)
    #expect(budget.windowsPerBAR(policy) == 1)
    // One window, and two more for the splits by the MSI-X table and PBA.
    #expect(demand.windows(budget) == 3)
  }

  @Test("windows are larger if slots are scarce, or if mappings are scarce and peers reach the windows")
  func few() {
    let own = Demand(Self.whole(128 << 30), .onFault, peers: [.off])
    let shared = Demand(Self.whole(128 << 30), .onFault, peers: [.off, .mapped(.eager)])
    func most(_ demand: Demand, slots: Int, mappings: [Int]) -> Int {
      WindowBudget([demand], slots: slots, mappings: mappings).most
    }
    #expect(most(own, slots: 130, mappings: [0]) == 128)
    #expect(most(own, slots: 129, mappings: [0]) == 64)
    #expect(most(own, slots: 40, mappings: [0]) == 32)
    #expect(most(shared, slots: 1000, mappings: [0, 130]) == 128)
    #expect(most(shared, slots: 1000, mappings: [0, 66]) == 64)
    #expect(most(shared, slots: 1000, mappings: [9999, 3]) == 1)
  }

  @Test("each BAR is one window if not even whole BARs fit")
  func none() {
    let demand = Demand(Self.whole(1 << 30, 1 << 30), .onFault, peers: [.mapped(.onFault)])
    let budget = WindowBudget([demand], slots: 1, mappings: [0])
    #expect(budget.most == 1)
    #expect(!budget.fits([demand], slots: 1, mappings: [0]))
  }

  @Test("the chosen budget fits and half the window size does not, for random devices and limits")
  func random() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<300 {
      let demands = (0..<Int.random(in: 1...12, using: &generator)).map { _ in
        let bars = (0..<Int.random(in: 1...3, using: &generator)).map { _ in
          let size = UInt64(1) << UInt64.random(in: 12...38, using: &generator)
          let areas: [Range<UInt64>] =
            size > 8192 && Bool.random(using: &generator) ? [0..<4096, 8192..<size] : [0..<size]
          return (size: size, areas: areas)
        }
        return Demand(
          bars, MappingPolicy.allCases.randomElement(using: &generator) ?? .onFault,
          peers: [Bool.random(using: &generator) ? .off : .mapped(.onFault), .mapped(.eager)])
      }
      let slots = Int.random(in: 0...2000, using: &generator)
      let mappings = [
        Int.random(in: 0...2000, using: &generator), Int.random(in: 0...2000, using: &generator),
      ]
      let budget = WindowBudget(demands, slots: slots, mappings: mappings)
      #expect(budget.most == 1 || budget.fits(demands, slots: slots, mappings: mappings))
      if budget.most < 128 {
        #expect(!WindowBudget(most: budget.most * 2).fits(demands, slots: slots, mappings: mappings))
      }
      // The number of windows after the MSI-X split never exceeds the counted number.
      for demand in demands {
        let most = budget.windowsPerBAR(demand.cpuPolicy)
        let table: Range<UInt64> = 0x2000..<0x2800
        let pending: Range<UInt64> = 0x3000..<0x3008
        var count = 0
        for (index, bar) in demand.bars.enumerated() {
          for area in WindowCuts.areas(bar.areas, without: index == 0 ? [table, pending] : []) {
            count += WindowCuts.pieces(of: area, barSize: bar.size, most: most).count
          }
        }
        #expect(count <= demand.windows(budget))
      }
    }
  }
}
