// SPDX-License-Identifier: Apache-2.0

/// A PCI Express root port with one hot-plug slot (PCIe 6.0 §7.5.1.3, §7.5.3, §6.7).
///
/// The port is a pure state machine. A guest's write and an event of the host change it. A write returns its
/// effects. After an event of the host, the owner calls ``takeMessage()`` and reads ``isINTxAsserted``.
/// This type never accesses a device.
///
/// The slot has an attention button and a power controller. It has no attention indicator and no power
/// indicator, because Sluice shows them to no operator. Linux's pciehp does not need them.
public struct RootPort: Sendable {
  /// The position, bus numbers and windows of the port.
  public let layout: Layout

  /// The registers.
  var values: [UInt8]
  /// The mask of the bits that a guest may write.
  var writable: [UInt8]
  /// The mask of the bits that a guest clears by writing 1.
  var clearable: [UInt8]

  /// The link to the function in the slot, or nil if the slot is empty.
  public internal(set) var link: Link?
  /// True if the owner holds the link down, for example during a host's reset.
  public internal(set) var holdsLink = false
  /// True from a reported uncorrectable error until the guest has reset the slot or the owner has called
  /// ``endContainment()``.
  public internal(set) var isContained = false
  /// True from the guest's power-off of the occupied slot until its power-on or the next insertion.
  var isCutOff = false
  /// True if the function was inserted while the power was on. The next power-off belongs to its predecessor.
  var isReplacement = false
  /// The causes whose message has been sent or is owed. A cause sends again after it has been absent.
  var signaled = InterruptCauses()
  /// True if the owner must send a message.
  var isMessageOwed = false

  /// Creates a port in its state at power-on.
  ///
  /// - Parameters:
  ///   - layout: The position, bus numbers and windows.
  ///   - link: The link to the function in the slot, or nil if the slot is empty. An occupied slot is powered,
  ///     and its link is active. An empty slot has its power off, so that pciehp need not switch it off.
  public init(_ layout: Layout, link: Link?) {
    self.layout = layout
    values = [UInt8](repeating: 0, count: Self.size)
    writable = values
    clearable = values
    self.link = link
    defineHeader()
    defineExpress(maximum: layout.maximumLink.raised(to: link))
    defineOtherCapabilities()
    defineExtended()
    if link != nil {
      slotStatus = .present
      showLink(isActive: true)
    } else {
      slotControl = .powerOff
      showLink(isActive: false)
    }
  }

  /// The size of the configuration space in bytes.
  public static let size = 4096

  /// Returns the value that a guest reads. Bytes beyond the end read as all-ones.
  ///
  /// - Parameters:
  ///   - offset: The offset of the first byte in configuration space.
  ///   - width: The number of bytes: 1, 2 or 4.
  public func read(offset: Int, width: Int) -> UInt32 { values.number(at: offset, width: width) }
}

/// The state that decides the path of an access.
extension RootPort {
  /// The number of the bus behind the port.
  public var secondaryBus: UInt8 { values[PortOffset.secondaryBus] }

  /// The highest bus number behind the port.
  public var subordinateBus: UInt8 { values[PortOffset.subordinateBus] }

  /// The command register as set by the guest.
  public var command: Command { Command(rawValue: number(ConfigOffset.command)) }

  /// True if a function is in the slot (Presence Detect State, PCIe 6.0 §7.5.3.11).
  public var isOccupied: Bool { link != nil }

  /// True if the slot's power is on (Power Controller Control, PCIe 6.0 §7.5.3.10).
  public var isPowered: Bool { !slotControl.contains(.powerOff) }

  /// True if the link is active (Data Link Layer Link Active, PCIe 6.0 §7.5.3.8).
  public var isLinkActive: Bool { number(PortOffset.linkStatus) & PortOffset.linkActive != 0 }

  /// True while the guest holds the slot in a hot reset by Secondary Bus Reset (PCIe 6.0 §7.5.1.3.13) or by Link
  /// Disable (§7.5.3.7).
  public var isResetting: Bool {
    number(PortOffset.bridgeControl) & PortOffset.secondaryBusReset != 0
      || number(PortOffset.linkControl) & PortOffset.linkDisable != 0
  }

  /// The power state of the port itself (PCI PM 1.2 §3.2.4).
  public var powerState: PowerState { PowerState(rawValue: values[PortOffset.powerControl] & 3) ?? .d0 }

  /// True if configuration requests reach the slot. The slot is occupied and powered, the link is active, and
  /// the port is in D0.
  public var isReachable: Bool { isOccupied && isPowered && isLinkActive && powerState == .d0 }

  /// True if memory requests reach the slot. The slot is reachable and not contained, and the port's Memory
  /// Space Enable is set.
  public var isForwarding: Bool { isReachable && !isContained && command.contains(.memorySpace) }

  /// Returns the 16-bit register at an offset.
  func number(_ offset: Int) -> UInt16 { UInt16(values.number(at: offset, width: 2)) }
}
