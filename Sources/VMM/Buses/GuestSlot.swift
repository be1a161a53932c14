// SPDX-License-Identifier: Apache-2.0

internal import PCI

/// A place on the guest's root bus.
struct GuestSlot: Equatable {
  /// The device number, from 1 on: 0 is the host bridge.
  let slot: UInt8
  /// The function number.
  let function: UInt8
  /// Whether other functions share the slot.
  let isShared: Bool

  /// The index by device and function number.
  var index: Int { Int(slot) << 3 | Int(function) }

  /// A place for each device: slots in the order given. Functions of one device of the host share a slot
  /// where function 0 is among them, without which a guest finds none (PCI 3.0 §3.2.2.3.4).
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
