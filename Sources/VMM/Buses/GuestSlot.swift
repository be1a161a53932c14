// SPDX-License-Identifier: Apache-2.0

internal import PCI

/// A device and function number on the guest's root bus.
struct GuestSlot: Equatable {
  /// The device number, at least 1. The host bridge has number 0.
  let slot: UInt8
  /// The function number.
  let function: UInt8
  /// True if other functions share the PCI slot.
  let isShared: Bool

  /// The index by device number (bits 7:3) and function number (bits 2:0).
  var index: Int { Int(slot) << 3 | Int(function) }

  /// Assigns PCI slots to devices, in the given order.
  ///
  /// Functions of one host device share a PCI slot if function 0 is among them. A guest finds no function in
  /// a PCI slot without function 0 (PCI 3.0 §3.2.2.3.4).
  static func all(_ addresses: [Address]) -> [GuestSlot] {
    var slots: [Address: UInt8] = [:]
    var next: UInt8 = 1
    return addresses.map { address in
      let siblings = addresses.filter { $0.isSameDevice(as: address) }
      let first = siblings.first { $0.function == 0 }
      let isShared = siblings.count > 1 && first != nil
      let key = isShared ? first ?? address : address
      let slot = slots[key] ?? next
      if slots.updateValue(slot, forKey: key) == nil { next += 1 }
      return GuestSlot(slot: slot, function: isShared ? address.function : 0, isShared: isShared)
    }
  }
}
