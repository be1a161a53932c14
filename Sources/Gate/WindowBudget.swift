// SPDX-License-Identifier: Apache-2.0

/// How finely the BARs of a VM's devices are cut into windows, so that neither memory slots nor mappings
/// of an IOMMU run out: where there are few, windows are larger.
///
/// It reckons with windows that were opened one by one. Neighbours that were open when the gate last closed come back
/// as one slot and one mapping (``Gate``), but those that are open are not joined: VFIO cannot extend a mapping, and
/// between taking two away and adding one a peer's DMA would fault. A slot could be exchanged while the vCPUs are
/// paused, but what is deleted makes KVM drop its page tables for all of the guest's RAM (kvm_mmu_zap_all_fast), so
/// that each opening would cost a fault for every page that the guest uses: 300 closings of one window brought 1,818
/// faults to a guest of a few pages (Linux 6.12, KVM's pf_fixed). Windows that open together anyway are one from the
/// start: under `bar-map=on-enable` and `eager` each mappable area of a BAR is one window.
public struct WindowBudget: Sendable {
  /// No BAR has more windows than this, but for what the MSI-X structures cut.
  public static let finest = 128

  /// What a device would take.
  public struct Demand: Sendable {
    /// For each memory BAR that can be mapped, its size and the areas; bytes.
    let bars: [(size: UInt64, areas: [Range<UInt64>])]
    let cpuPolicy: MappingPolicy
    /// For each I/O address space, whether windows are mapped there.
    let isPeerMapped: [Bool]

    /// Creates a demand.
    ///
    /// - Parameters:
    ///   - bars: The memory BARs that can be mapped: size and mappable areas, in bytes.
    ///   - opening: When the windows open.
    ///   - peers: When the windows are mapped in each I/O address space.
    public init(
      _ bars: [(size: UInt64, areas: [Range<UInt64>])], _ cpuPolicy: MappingPolicy, peers: [PeerPolicy]
    ) {
      self.bars = bars
      self.cpuPolicy = cpuPolicy
      isPeerMapped = peers.map { $0 != .off }
    }

    /// How many windows it has at most. The table and the pending bits of MSI-X cut one in two each.
    func windows(_ budget: WindowBudget) -> Int {
      bars.reduce(bars.isEmpty ? 0 : 2) { sum, bar in
        sum
          + bar.areas.reduce(0) { count, area in
            count
              + WindowCuts.pieces(of: area, barSize: bar.size, most: budget.windowsPerBAR(cpuPolicy)).count
          }
      }
    }
  }

  /// The most windows of a BAR that opens by need.
  let most: Int

  init(most: Int) { self.most = most }

  /// Finds the finest windows that all have room.
  ///
  /// - Parameters:
  ///   - demands: Those of all devices of the VM.
  ///   - slots: How many memory slots there are for windows.
  ///   - mappings: How many mappings there are for windows in each I/O address space.
  public init(_ demands: [Demand], slots: Int, mappings: [Int]) {
    var most = Self.finest
    while most > 1, !Self(most: most).fits(demands, slots: slots, mappings: mappings) { most /= 2 }
    self.most = most
  }

  /// Whether all windows could be open, and mapped for peers, at once.
  func fits(_ demands: [Demand], slots: Int, mappings: [Int]) -> Bool {
    let counts = demands.map { $0.windows(self) }
    guard counts.reduce(0, +) <= slots else { return false }
    return mappings.indices.allSatisfy { space in
      zip(demands, counts).reduce(0) { sum, one in sum + (one.0.isPeerMapped[space] ? one.1 : 0) }
        <= mappings[space]
    }
  }

  /// How many windows a BAR may have.
  ///
  /// - Parameter opening: When they open.
  public func windowsPerBAR(_ cpuPolicy: MappingPolicy) -> Int { cpuPolicy == .onFault ? most : 1 }
}
