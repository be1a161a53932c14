// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Gate
@testable import Passthrough

/// What a guest with 2 TiB and eight GPUs of 128 GiB costs, by the gate, the layout and the budget themselves.
@Suite struct ScaleTests {
  private static let policies: [(MappingPolicy, PeerPolicy)] = [
    (.onFault, .off), (.onFault, .mapped(.onFault)), (.onFault, .mapped(.onEnable)), (.onEnable, .off),
    (.onEnable, .mapped(.onEnable)), (.eager, .off), (.eager, .mapped(.eager)),
  ]

  /// How much of a GPU's memory its driver touches by CPU, before anything uses it.
  private static let touched: UInt64 = 2 << 30

  @Test("the README has this table, and it comes out of the gate, the layout and the budget")
  func devices() throws {
    var lines = [
      "| `bar-map` | `peer-dma` | slots | mappings | BARs that peers reach, GiB | IOMMU tables, pages "
        + "| mapping, s: 6.12; 7.2 | unmapping, s: 6.12; 7.2 |",
      "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (opening, peer) in Self.policies { lines.append(Self.row(opening, peer)) }
    try Self.compare(lines)
  }

  @Test("the README has this table, and it comes out of the pieces that RAM is pinned in")
  func memory() throws {
    var lines = [
      "| pages of guest RAM | mappings | IOMMU tables, pages | IOMMU tables, MiB "
        + "| finding, zeroing and pinning, hours of one thread |", "| --- | --- | --- | --- | --- |",
    ]
    // What VFIO_IOMMU_MAP_DMA took in the lab for a fresh piece of 128 MiB, in seconds (Linux 6.12, the `dma`
    // events of nvme-6.12-cloud and of a guest of huge pages, means of five pieces and one); 1 GiB: not measured.
    let pages: [(name: String, page: IOMMUTables.Page, cost: Double?)] = [
      ("4 KiB", .small, 0.883), ("2 MiB", .large, 0.392), ("1 GiB", .huge, nil),
    ]
    for (name, page, cost) in pages {
      var shape = ScaleModel.Shape()
      shape.page = page
      let model = ScaleModel(shape, .onFault, .off)
      #expect(model.kernel.pinned == shape.memory)
      let pages = model.kernel.tables.count
      let hours = cost.map { Self.decimal($0 * Double(shape.memory / (128 << 20)) / 3600) }
      lines.append(
        "| \(name) | \(model.ramMappings) | \(pages) | \(Self.decimal(Double(pages) / 256)) "
          + "| \(hours ?? "not measured") |")
    }
    try Self.compare(lines)
  }

  /// What a policy costs: right after the devices' memory is enabled, once the drivers work, once they work again
  /// after all memory bits were cleared and set, and once all of the BARs has been touched.
  private static func row(_ opening: MappingPolicy, _ peer: PeerPolicy) -> String {
    var model = ScaleModel(ScaleModel.Shape(), opening, peer)
    let idle = model.kernel.tables.count
    model.all(.set(.memoryEnabled, true))
    let enabled = model.kernel
    model.touch(memory: touched)
    let working = model.kernel
    model.all(.set(.memoryEnabled, false))
    let closing = model.kernel.work
    model.all(.set(.memoryEnabled, true))
    model.touch(memory: touched)
    let again = model.kernel
    var whole = ScaleModel(ScaleModel.Shape(), opening, peer)
    whole.all(.set(.memoryEnabled, true))
    whole.touch(memory: .max)
    func four(_ value: (FakeKernel) -> Int) -> String {
      [enabled, working, again, whole.kernel].map { "\(value($0))" }.joined(separator: ", ")
    }
    let name = if case .mapped(let policy) = peer { policy.rawValue } else { "off" }
    let mapping = working.work
    let cells = [
      four { $0.slots - 2 }, four { $0.mappings.count - model.ramMappings },
      four { Int($0.reachable >> 30) },
      four { $0.tables.count - idle },
      decimal(mapping.mapping612) + "; " + decimal(mapping.mapping72),
      decimal((closing - mapping).unmapping612) + "; " + decimal((closing - mapping).unmapping72),
    ]
    return "| `\(opening.rawValue)` | `\(name)` | \(cells.joined(separator: " | ")) |"
  }

  private static func decimal(_ value: Double) -> String {
    value == 0 ? "0" : String(format: value < 0.1 ? "%.3f" : value < 10 ? "%.2f" : "%.0f", value)
  }

  /// Prints a table, and looks for it in the README.
  private static func compare(_ lines: [String]) throws {
    let table = lines.joined(separator: "\n") + "\n"
    print(table)
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let readme = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
    #expect(readme.contains(table), "README.md has other numbers")
  }

  @Test("on-fault costs what is touched, however large the BARs are")
  func proportional() {
    var works: [FakeKernel.Work] = []
    for size in [4 << 30, 128 << 30] as [UInt64] {
      var shape = ScaleModel.Shape()
      shape.bars = [16 << 20, size]
      var model = ScaleModel(shape, .onFault, .mapped(.onFault))
      model.all(.set(.memoryEnabled, true))
      #expect(model.kernel.work == FakeKernel.Work())
      // A BAR of 4 GiB has windows of 32 MiB, one of 128 GiB windows of 1 GiB: one is touched.
      model.touch(memory: 1)
      works.append(model.kernel.work)
    }
    #expect(works[0].slotChanges == works[1].slotChanges && works[0].maps == works[1].maps)
  }

  @Test(
    "neither slots nor mappings run out, and nothing stands once memory is off",
    arguments: [(32764, 65535), (509, 65535), (32764, 2048), (125, 1100), (40, 64), (20, 30)],
    MappingPolicy.allCases)
  func limits(_ limits: (slots: Int, mappings: Int), _ policy: MappingPolicy) {
    var kernel = FakeKernel()
    kernel.slotLimit = limits.slots
    kernel.mappingLimit = limits.mappings
    // The same policy for peers, so that under the tightest limits windows are whole BARs.
    var model = ScaleModel(ScaleModel.Shape(), policy, .mapped(policy), kernel: kernel)
    for isFirst in [true, false] {
      model.all(.set(.memoryEnabled, true))
      model.touch(memory: .max)
      // What was open before opens again as one: a slot for each BAR.
      #expect(model.kernel.slots - 2 == (isFirst && policy == .onFault ? model.openWindows : 8 * 2))
      #expect(model.kernel.reachable == 8 * (128 << 30 + 16 << 20))
      model.all(.move(bar: 1))
      model.touch(memory: .max)
      #expect(model.kernel.reachable == 8 * (128 << 30 + 16 << 20))
      let before = model.kernel.work
      model.all(.set(.memoryEnabled, false))
      #expect((model.kernel.work - before).unmaps == 8 * 2)
      #expect(model.kernel.slots == 2)
      #expect(model.kernel.mappings.count == model.ramMappings)
      #expect(model.kernel.reachable == 0)
    }
    #expect(model.kernel.refusals == 0)
  }

  @Test("windows that were cut without a look at the limits would be refused")
  func withoutBudget() {
    var kernel = FakeKernel()
    kernel.slotLimit = 509
    let model = ScaleModel(ScaleModel.Shape(), .onFault, .mapped(.onFault), kernel: kernel)
    #expect(model.most < WindowBudget.finest)
    var greedy = ScaleModel(ScaleModel.Shape(), .onFault, .mapped(.onFault))
    #expect(greedy.most == WindowBudget.finest)
    greedy.all(.set(.memoryEnabled, true))
    greedy.touch(memory: .max)
    #expect(greedy.kernel.slots > kernel.slotLimit)
  }
}
