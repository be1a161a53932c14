// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import Gate
@testable import Passthrough

/// The cost of a guest with 2 TiB and eight GPUs of 128 GiB, computed with the gate, the layout and the
/// budget.
@Suite struct ScaleTests {
  private static let policies: [(MappingPolicy, PeerPolicy)] = [
    (.onFault, .off), (.onFault, .mapped(.onFault)), (.onFault, .mapped(.onEnable)), (.onEnable, .off),
    (.onEnable, .mapped(.onEnable)), (.eager, .off), (.eager, .mapped(.eager)),
  ]

  /// The bytes of a GPU's memory that its driver touches by CPU before it is used.
  private static let touched: UInt64 = 2 << 30

  @Test("the article has the table that the gate, the layout and the budget produce")
  func devices() throws {
    var lines = [
      "| `bar-map` | `peer-dma` | slots | mappings | BARs that peers reach, GiB | IOMMU tables, pages "
        + "| mapping, s: 6.12; 7.2 | unmapping, s: 6.12; 7.2 |",
      "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (cpuPolicy, peer) in Self.policies { lines.append(Self.row(cpuPolicy, peer)) }
    try Self.compare(lines)
  }

  @Test("the article has the table that the pieces of pinned RAM produce")
  func memory() throws {
    var lines = [
      "| pages of guest RAM | mappings | IOMMU tables, pages | IOMMU tables, MiB "
        + "| finding, zeroing and pinning, hours of one thread |", "| --- | --- | --- | --- | --- |",
    ]
    // The duration of VFIO_IOMMU_MAP_DMA in the lab for a fresh piece of 128 MiB, in seconds (Linux 6.12).
    // The values are from the `dma` events of nvme-6.12-cloud (mean of five pieces) and of a guest of huge
    // pages (one piece). 1 GiB was not measured.
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

  /// Returns the cost of a policy at four times: after the devices' memory is enabled, after the drivers have
  /// started, after they have started again, and after all bytes of the BARs have been touched. Before the
  /// drivers start again, all memory bits are cleared and set.
  private static func row(_ cpuPolicy: MappingPolicy, _ peer: PeerPolicy) -> String {
    var model = ScaleModel(ScaleModel.Shape(), cpuPolicy, peer)
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
    var whole = ScaleModel(ScaleModel.Shape(), cpuPolicy, peer)
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
    return "| `\(cpuPolicy.rawValue)` | `\(name)` | \(cells.joined(separator: " | ")) |"
  }

  private static func decimal(_ value: Double) -> String {
    value == 0 ? "0" : String(format: value < 0.1 ? "%.3f" : value < 10 ? "%.2f" : "%.0f", value)
  }

  /// Prints a table and searches for it in the article.
  private static func compare(_ lines: [String]) throws {
    let table = lines.joined(separator: "\n") + "\n"
    print(table)
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let path = "Sources/Gate/Gate.docc/Scale.md"
    let article = try String(contentsOf: root.appending(path: path), encoding: .utf8)
    #expect(article.contains(table), "\(path) has other numbers")
  }

  @Test("the cost of on-fault depends on the touched windows, not on the size of the BARs")
  func proportional() {
    var works: [FakeKernel.Work] = []
    for size in [4 << 30, 128 << 30] as [UInt64] {
      var shape = ScaleModel.Shape()
      shape.bars = [16 << 20, size]
      var model = ScaleModel(shape, .onFault, .mapped(.onFault))
      model.all(.set(.memoryEnabled, true))
      #expect(model.kernel.work == FakeKernel.Work())
      // A BAR of 4 GiB has windows of 32 MiB, and a BAR of 128 GiB has windows of 1 GiB. One window is
      // touched.
      model.touch(memory: 1)
      works.append(model.kernel.work)
    }
    #expect(works[0].slotChanges == works[1].slotChanges && works[0].maps == works[1].maps)
  }

  @Test(
    "neither memory slots nor mappings run out, and none remain after memory is off",
    arguments: [(32764, 65535), (509, 65535), (32764, 2048), (125, 1100), (40, 64), (20, 30)],
    MappingPolicy.allCases)
  func limits(_ limits: (slots: Int, mappings: Int), _ policy: MappingPolicy) {
    var kernel = FakeKernel()
    kernel.slotLimit = limits.slots
    kernel.mappingLimit = limits.mappings
    // The same policy applies to peers, so that windows are whole BARs under the tightest limits.
    var model = ScaleModel(ScaleModel.Shape(), policy, .mapped(policy), kernel: kernel)
    for isFirst in [true, false] {
      model.all(.set(.memoryEnabled, true))
      model.touch(memory: .max)
      // Windows that were open before open together: one memory slot for each BAR.
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

  @Test("windows that are cut without the limits exceed the memory slots")
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
