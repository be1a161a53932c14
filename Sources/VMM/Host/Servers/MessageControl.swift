// SPDX-License-Identifier: Apache-2.0

internal import PCI
internal import Seams

/// Message Control of MSI and MSI-X in the configuration space of a process (PCI 3.0 §6.8.1.3 and §6.8.2.3).
///
/// The kernel sets the enable bit of a device of the host. A process reads the bit of its configuration space: without
/// it, the process may raise INTx.
struct MessageControl: Equatable {
  /// The offset of the register in configuration space.
  let offset: Int
  /// The new value.
  let value: UInt16

  init(offset: Int, value: UInt16) { (self.offset, self.value) = (offset, value) }

  /// Creates the change that turns a kind of interrupt on or off. Returns nil if the function has no such capability.
  ///
  /// - Parameters:
  ///   - kind: The kind of interrupt.
  ///   - vectors: The number of vectors, or 0 to turn the kind off.
  ///   - config: The first 256 bytes of configuration space.
  init?(_ kind: InterruptKind, vectors: Int, in config: [UInt8]) {
    let id: UInt8
    switch kind {
    case .msi: id = CapabilityID.messageSignaled
    case .msix: id = CapabilityID.msix
    case .intx, .error, .request: return nil
    }
    guard let capability = CapabilityList(config).first(id) else { return nil }
    offset = capability.offset + 2
    let old = UInt16(config[offset]) | UInt16(config[offset + 1]) << 8
    let isOn = vectors > 0
    if kind == .msix {
      // Function Mask is clear: Sluice masks each vector.
      value = old & ~0xC000 | (isOn ? 0x8000 : 0)
    } else {
      // Multiple Message Enable is the logarithm of the number of vectors.
      let exponent = isOn ? UInt16(Int.bitWidth - (vectors - 1).leadingZeroBitCount) : 0
      value = old & ~0x71 | exponent << 4 | (isOn ? 1 : 0)
    }
  }
}
