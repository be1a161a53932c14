// SPDX-License-Identifier: Apache-2.0

internal import PCI

/// The position of a function on the guest's PCI buses.
struct GuestSlot: Equatable {
  /// The device number on the root bus of the function or of its port, at least 1. The host bridge has number 0.
  let slot: UInt8
  /// The function number.
  let function: UInt8
  /// True if other functions share the PCI slot.
  let isShared: Bool
  /// The index of the function's port, or nil if the function is on the root bus.
  var port: Int?

  /// The first index behind ports. Only function 0 of device 0 is behind a port.
  static let firstBehindPort = 256

  /// The index by device number (bits 7:3) and function number (bits 2:0), or behind a port by the device number of
  /// the port.
  var index: Int {
    port == nil ? Int(slot) << 3 | Int(function) : Self.firstBehindPort | Int(slot)
  }

  /// Assigns PCI slots to devices, in the given order.
  ///
  /// Functions of one host device share a PCI slot if function 0 is among them. A guest finds no function in
  /// a PCI slot without function 0 (PCI 3.0 §3.2.2.3.4). A device behind a port shares none.
  static func all(_ devices: [Configuration.AssignedDevice]) -> [GuestSlot] {
    let addresses = devices.filter { !$0.hasPort }.compactMap(\.address.address)
    var slots: [Address: UInt8] = [:]
    var next: UInt8 = 1
    var ports = 0
    return devices.map { device in
      if device.hasPort {
        defer { (next, ports) = (next + 1, ports + 1) }
        return GuestSlot(slot: next, function: 0, isShared: false, port: ports)
      }
      guard let address = device.address.address else {
        defer { next += 1 }
        return GuestSlot(slot: next, function: 0, isShared: false)
      }
      let siblings = addresses.filter { $0.isSameDevice(as: address) }
      let first = siblings.first { $0.function == 0 }
      let isShared = siblings.count > 1 && first != nil
      let key = isShared ? first ?? address : address
      let slot = slots[key] ?? next
      if slots.updateValue(slot, forKey: key) == nil { next += 1 }
      return GuestSlot(slot: slot, function: isShared ? address.function : 0, isShared: isShared)
    }
  }

  /// Returns the device number of each port on the root bus: the ports of devices, then empty ports.
  static func ports(_ slots: [GuestSlot], empty: Int) -> [UInt8] {
    let last = slots.map(\.slot).max() ?? 0
    return slots.filter { $0.port != nil }.map(\.slot) + (0..<empty).map { last + 1 + UInt8($0) }
  }
}
