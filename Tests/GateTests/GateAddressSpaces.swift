// SPDX-License-Identifier: Apache-2.0

/// The IOVAs of windows in two I/O address spaces, as bit masks. Each space has 8 bits.
struct GateAddressSpaces: Hashable {
  /// The windows that the kernel maps.
  private(set) var mapped: UInt16 = 0
  /// The mapped windows whose mapping the kernel has revoked. They still occupy their IOVAs.
  private(set) var revoked: UInt16 = 0
  /// The windows that the owner of the gate considers mapped.
  private(set) var owned: UInt16 = 0

  private func bit(_ window: Int, _ space: Int) -> UInt16 { 1 << (space * 8 + window) }

  /// True if the kernel maps a window in a space.
  func isMapped(_ window: Int, in space: Int) -> Bool { mapped & bit(window, space) != 0 }

  /// True if the kernel maps a window in any space.
  func isMapped(_ window: Int) -> Bool { isMapped(window, in: 0) || isMapped(window, in: 1) }

  /// Revokes every mapping, as the kernel does for dma-bufs when the device's memory goes off.
  mutating func revoke() { revoked = mapped }

  /// Removes the IOVA of a window from both spaces.
  mutating func unmap(_ window: Int, _ fault: OwnerFault?) {
    for space in 0..<(fault == .forgetsAddressSpace ? 1 : 2) {
      let bit = bit(window, space)
      owned &= ~bit
      if fault == .leavesRevoked, revoked & bit != 0 { continue }
      mapped &= ~bit
      revoked &= ~bit
    }
  }

  /// Maps a window in a space, unless the owner considers it mapped. Returns false if the kernel still has an earlier
  /// mapping.
  ///
  /// - Parameters:
  ///   - window: The window.
  ///   - space: The space, 0 or 1.
  ///   - isRefused: True if the kernel refuses the mapping, because the device's memory is off.
  mutating func map(_ window: Int, in space: Int, isRefused: Bool) -> Bool {
    let bit = bit(window, space)
    guard owned & bit == 0 else { return true }
    guard mapped & bit == 0 else { return false }
    guard !isRefused else { return true }
    owned |= bit
    mapped |= bit
    return true
  }
}

/// A fault of the gate's owner.
enum OwnerFault: String, CaseIterable {
  case forgetsAddressSpace = "an IOVA remains in a second I/O address space"
  case leavesRevoked = "an IOVA that the kernel has revoked is not unmapped"
  case forgetsGeneration = "the generation is not advanced"
  case checksOnce = "the generation is checked only before the demotion"
  case opensInside = "windows open while a vCPU is inside an instruction"
}
