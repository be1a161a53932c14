// SPDX-License-Identifier: Apache-2.0

@testable import Gate
@testable import Passthrough

/// A model of a VM: the real gates and window cuts of its functions, with a kernel that only counts.
struct ScaleModel {
  /// The memory and the devices of a VM.
  struct Shape {
    var memory: UInt64 = 2 << 40
    var devices = 8
    /// The BARs of a GPU: its registers and its memory.
    var bars: [UInt64] = [16 << 20, 128 << 30]
    var page = IOMMUTables.Page.huge
  }

  private struct Window {
    let bar: Int
    let range: Range<UInt64>
    var hasSlot = false
    var isMapped = false
  }

  private struct Function {
    var gate: Gate
    var windows: [Window]
    let peers: [PeerPolicy]
  }

  private let shape: Shape
  private(set) var kernel: FakeKernel
  private var functions: [Function] = []
  /// The number of windows per BAR that the budget has chosen.
  let most: Int
  /// The number of mappings for guest RAM.
  let ramMappings: Int

  /// Creates a VM and pins its RAM. No window is mapped.
  ///
  /// - Parameters:
  ///   - shape: The memory and the devices of the VM.
  ///   - cpuPolicy: The bar-map policy of every device.
  ///   - peer: The peer-dma policy of every device.
  ///   - kernel: The model of the kernel, with its limits.
  init(_ shape: Shape, _ cpuPolicy: MappingPolicy, _ peer: PeerPolicy, kernel: FakeKernel = FakeKernel()) {
    self.shape = shape
    self.kernel = kernel
    var policies = DevicePolicies()
    policies.barMap = cpuPolicy
    policies.peerDMA = peer
    let names = (0..<shape.devices).map { "gpu\($0)" }
    let plan = AddressSpacePlan(
      names.map { AddressSpacePlan.Member(address: $0, group: $0, policies: policies) })
    let piece = max(
      DMARange.pieceSize(memory: shape.memory, mappings: kernel.mappingLimit), 1 << shape.page.rawValue)
    for start in stride(from: 0, to: shape.memory, by: Int(piece)) {
      self.kernel.pin(start..<min(start + piece, shape.memory), shape.page)
    }
    let pieces = self.kernel.mappings.count
    ramMappings = pieces
    let demands = names.map { name in
      WindowBudget.Demand(shape.bars.map { ($0, [0..<$0]) }, cpuPolicy, peers: plan.policies(of: name))
    }
    // Two memory slots belong to RAM, below and above the hole.
    let budget = WindowBudget(
      demands, slots: kernel.slotLimit - 2,
      mappings: plan.devices.map { _ in max(0, kernel.mappingLimit - pieces) })
    most = budget.windowsPerBAR(cpuPolicy)
    for _ in 0..<2 { _ = self.kernel.addSlot() }
    var base = shape.memory
    for name in names {
      let peers = plan.policies(of: name)
      let configuration = FunctionConfiguration(
        policies: policies, peers: peers, reset: .function, budget: budget)
      var windows: [Window] = []
      for (index, size) in shape.bars.enumerated() {
        base = (base + size - 1) / size * size
        for piece in WindowCuts.pieces(of: 0..<size, barSize: size, most: configuration.windowsPerBAR) {
          windows.append(Window(bar: index, range: base + piece.lowerBound..<base + piece.upperBound))
        }
        base += size
      }
      let gate = Gate(
        bars: windows.map(\.bar), adjoins: windows.map { _ in true },
        conditions: .initial, cpuPolicy: cpuPolicy,
        peerPolicy: configuration.mostEagerPeerPolicy)
      functions.append(Function(gate: gate, windows: windows, peers: peers))
    }
    self.kernel.restart()
  }

  /// Passes an event to the gate of every device, and then opens due windows.
  mutating func all(_ event: Gate.Event) {
    for index in functions.indices {
      handle(event, index)
      handle(.open, index)
    }
  }

  /// Accesses the registers and the first bytes of the memory of every device.
  mutating func touch(memory bytes: UInt64) {
    for index in functions.indices {
      for (number, window) in functions[index].windows.enumerated() {
        let start = functions[index].windows.first { $0.bar == window.bar }?.range.lowerBound ?? 0
        guard window.bar == 0 || window.range.lowerBound - start < bytes else { continue }
        handle(.access(window: number), index)
        handle(.open, index)
      }
    }
  }

  /// The number of open windows.
  var openWindows: Int { functions.reduce(0) { $0 + $1.gate.states.count { $0 == .open } } }

  private func range(of span: Range<Int>, _ index: Int) -> Range<UInt64> {
    let windows = functions[index].windows[span]
    return (windows.first?.range.lowerBound ?? 0)..<(windows.last?.range.upperBound ?? 0)
  }

  private mutating func handle(_ event: Gate.Event, _ index: Int) {
    var gate = functions[index].gate
    gate.handle(event) { effect in
      switch effect {
      case .addSlot(let span):
        guard kernel.addSlot() else { return false }
        functions[index].windows[span.lowerBound].hasSlot = true
      case .removeSlots(let span):
        for window in span where functions[index].windows[window].hasSlot {
          kernel.removeSlot()
          functions[index].windows[window].hasSlot = false
        }
      case .addIOVA(let span, let trigger):
        // All devices share one I/O address space, because they have the same policies. Therefore the windows
        // of a span are all mapped or all unmapped.
        guard functions[index].peers[0].includes(trigger), !functions[index].windows[span.lowerBound].isMapped
        else { break }
        let isMapped = kernel.map(windows: range(of: span, index))
        for window in span { functions[index].windows[window].isMapped = isMapped }
      case .removeIOVAs(let span):
        guard functions[index].windows[span.lowerBound].isMapped else { break }
        kernel.unmap(windows: range(of: span, index))
        for window in span { functions[index].windows[window].isMapped = false }
      case .apply, .readBack, .changed: break
      }
      return true
    }
    functions[index].gate = gate
  }
}
