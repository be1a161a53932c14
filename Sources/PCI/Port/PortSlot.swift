// SPDX-License-Identifier: Apache-2.0

/// The slot and its link (PCIe 6.0 §6.7).
///
/// Linux's pciehp decides the details. With an attention button, it enables the button and the link change, not
/// the presence change. It turns a slot on at once if the link becomes active, and by the button after five
/// seconds. It removes a function at once if the link changes while the slot is on.
extension RootPort {
  /// Puts a function into the slot and brings its link up.
  ///
  /// The link becomes active although the guest has not switched the power on, because pciehp has no other event
  /// of an insertion without the button. ``isReachable`` still requires the power. A function in an occupied
  /// slot is replaced.
  ///
  /// After a graceful removal, pciehp discards the changes of one second. The owner either waits, or presses the
  /// button after the insertion. After a surprise removal, pciehp may see the next function before it has
  /// switched the power off. It then switches the power off and on. That power-off is not an
  /// ``Effect/eject``.
  ///
  /// - Parameter link: The link. It is limited to the port's maximum.
  public mutating func insert(_ link: Link) {
    if isOccupied { vacate() }
    self.link = link.limited(to: maximumLink)
    isReplacement = isPowered
    holdsLink = false
    slotStatus.formUnion([.present, .presenceChanged])
    updateLink()
    updateInterrupt()
  }

  /// Removes the function without the guest's consent. pciehp marks it disconnected and removes it.
  ///
  /// The link change is also recorded if the link was inactive, for example during a reset.
  public mutating func removeBySurprise() {
    guard isOccupied else { return }
    vacate()
    slotStatus.insert(.linkChanged)
    updateInterrupt()
  }

  /// Empties the slot after an ``Effect/eject``.
  ///
  /// The power-off has changed the link. This call changes the presence. pciehp discards both for one second
  /// after the power-off, and does not enable an interrupt for the presence. A later call is thus harmless too.
  public mutating func empty() {
    guard isOccupied else { return }
    vacate()
    updateInterrupt()
  }

  /// Presses the attention button (PCIe 6.0 §6.7.1.5). The guest removes or adds the function after five
  /// seconds. A second press in this time cancels the action. A press before the guest has cleared the bit of
  /// the previous press has no effect.
  public mutating func pressButton() {
    slotStatus.insert(.buttonPressed)
    updateInterrupt()
  }

  /// Holds the link down, or releases it.
  ///
  /// A released link is active if the slot is occupied, the guest has not cut its power, and no hot reset is in
  /// progress. pciehp waits one second for the link after a power-on or a reset. A link that goes down at another
  /// time is a removal for the guest.
  public mutating func setLinkActive(_ isActive: Bool) {
    holdsLink = !isActive
    updateLink()
    updateInterrupt()
  }

  /// The fastest and widest link, as in Link Capabilities (PCIe 6.0 §7.5.3.6).
  private var maximumLink: Link {
    let bits = number(PortOffset.linkCapabilities)
    return Link(speed: UInt8(bits & 0xF), width: UInt8(bits >> 4 & 0x3F))
  }

  /// Empties the slot, and clears the state that belongs to its function.
  private mutating func vacate() {
    link = nil
    isCutOff = false
    isReplacement = false
    holdsLink = false
    isContained = false
    slotStatus.remove(.present)
    slotStatus.insert(.presenceChanged)
    updateLink()
  }

  /// Applies a change of Power Controller Control. Returns true if the guest ejected the function.
  ///
  /// A power-off takes the link down. It also ends a containment, because the function loses its state.
  mutating func switchPower() -> Bool {
    isCutOff = isOccupied && !isPowered
    guard isCutOff else { return false }
    isContained = false
    defer { isReplacement = false }
    return !isReplacement
  }

  /// Updates the link status, and records a change in the slot status.
  mutating func updateLink() {
    let isActive = isOccupied && !isCutOff && !holdsLink && !isResetting
    guard isActive != isLinkActive else { return }
    showLink(isActive: isActive)
    slotStatus.insert(.linkChanged)
  }

  /// Sets the link status register (PCIe 6.0 §7.5.3.8). The speed of an inactive link reads 1 and its width 0.
  mutating func showLink(isActive: Bool) {
    var bits: UInt16 = 1
    if isActive, let link {
      bits = UInt16(link.speed & 0xF) | UInt16(link.width & 0x3F) << 4 | PortOffset.linkActive
    }
    values.set(UInt32(bits), at: PortOffset.linkStatus, width: 2)
  }
}
