// SPDX-License-Identifier: Apache-2.0

/// The window size for the BARs of a VM's devices. Windows are larger if memory slots or IOMMU mappings are
/// scarce, so that neither runs out.
///
/// The budget assumes that windows open one by one. Adjoining windows that were open when the gate last
/// closed return as one slot and one mapping (``Gate``). Windows that are already open are never joined. VFIO
/// cannot extend a mapping, and a peer's DMA would fault between the removal of two mappings and the addition
/// of one. A slot could be exchanged while the vCPUs are paused. However, when a slot is deleted, KVM drops
/// its page tables for all guest RAM (kvm_mmu_zap_all_fast), so each opening would cost a fault for every
/// page that the guest uses. For example, 300 closings of one window caused 1,818 faults in a guest of a few
/// pages (Linux 6.12, KVM's pf_fixed). Windows that open together anyway form one window from the start: if a
/// device's policy for the guest's CPUs is `on-enable` or `eager`, each mappable area of a BAR is one window.
public struct WindowBudget: Sendable {
  /// The maximum number of windows per BAR, before the MSI-X table and the pending bit array (PBA) split any.
  public static let finest = 128

  /// The windows that a device needs.
  public struct Demand: Sendable {
    /// For each mappable memory BAR, its size and its mappable areas, in bytes.
    let bars: [(size: UInt64, areas: [Range<UInt64>])]
    let cpuPolicy: MappingPolicy
    /// For each I/O address space, true if its devices may reach the windows.
    let isPeerMapped: [Bool]

    /// Creates a demand.
    ///
    /// - Parameters:
    ///   - bars: The mappable memory BARs: size and mappable areas, in bytes.
    ///   - cpuPolicy: The policy that decides when the windows open.
    ///   - peers: The policy of the windows in each I/O address space.
    public init(
      _ bars: [(size: UInt64, areas: [Range<UInt64>])], _ cpuPolicy: MappingPolicy, peers: [PeerPolicy]
    ) {
      self.bars = bars
      self.cpuPolicy = cpuPolicy
      isPeerMapped = peers.map { $0 != .off }
    }

    /// Returns the maximum number of windows. The MSI-X table and PBA each split one window in two.
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

  /// The maximum number of windows per BAR under the policy `on-fault`.
  let most: Int

  init(most: Int) { self.most = most }

  /// Creates the budget with the smallest windows that all fit.
  ///
  /// - Parameters:
  ///   - demands: The demands of all devices of the VM.
  ///   - slots: The number of memory slots for windows.
  ///   - mappings: The number of mappings for windows in each I/O address space.
  public init(_ demands: [Demand], slots: Int, mappings: [Int]) {
    var most = Self.finest
    while most > 1, !Self(most: most).fits(demands, slots: slots, mappings: mappings) { most /= 2 }
    self.most = most
  }

  /// True if all windows can be open and mapped for peers at once.
  func fits(_ demands: [Demand], slots: Int, mappings: [Int]) -> Bool {
    let counts = demands.map { $0.windows(self) }
    guard counts.reduce(0, +) <= slots else { return false }
    return mappings.indices.allSatisfy { space in
      zip(demands, counts).reduce(0) { sum, pair in sum + (pair.0.isPeerMapped[space] ? pair.1 : 0) }
        <= mappings[space]
    }
  }

  /// Returns the maximum number of windows per BAR.
  ///
  /// - Parameter cpuPolicy: The policy that decides when the windows open.
  public func windowsPerBAR(_ cpuPolicy: MappingPolicy) -> Int { cpuPolicy == .onFault ? most : 1 }
}
