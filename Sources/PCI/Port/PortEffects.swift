// SPDX-License-Identifier: Apache-2.0

extension RootPort {
  /// An effect of a guest's write beyond the registers.
  public enum Effect: Equatable, Sendable {
    /// The secondary or the subordinate bus number changed.
    case buses
    /// ``isForwarding``, ``isReachable``, a window or the port's Bus Master Enable changed.
    case forwarding
    /// A hot reset of the slot begins or ends, by Secondary Bus Reset or by Link Disable. The link is inactive
    /// during the reset. To keep it inactive until a reset on the host has ended, the owner calls
    /// ``setLinkActive(_:)`` when the reset begins.
    case reset(Bool)
    /// The guest switched the slot's power on or off. A function that is powered on again starts in its state
    /// after a reset.
    case power(Bool)
    /// The guest switched the power of an occupied slot off. It has removed the driver, or the function did not
    /// start. The owner closes the function and calls ``empty()``. A power-on before that call is a
    /// ``power(_:)`` for the same function.
    case eject
    /// ``isINTxAsserted`` changed, or ``takeMessage()`` has a message.
    case interrupt
  }

  /// The effects of a write, in order. They are stored inline, so an exit does not allocate.
  public struct Effects: Sequence, IteratorProtocol, Sendable {
    /// A write has each kind of effect at most once.
    private var list = InlineArray<6, Effect?>(repeating: nil)
    private var taken = 0
    private var count = 0

    init() {}

    mutating func append(_ effect: Effect) {
      list[count] = effect
      count += 1
    }

    /// Returns the next effect, or nil if none is left.
    public mutating func next() -> Effect? {
      guard taken < count else { return nil }
      taken += 1
      return list[taken - 1]
    }
  }

  /// The state that effects depend on.
  private struct Outputs {
    let secondaryBus: UInt8
    let subordinateBus: UInt8
    let isReachable: Bool
    let isForwarding: Bool
    let isBusMaster: Bool
    let memory32: Range<UInt64>
    let memory64: Range<UInt64>
    let isResetting: Bool
    let isPowered: Bool
    let isINTxAsserted: Bool

    /// True if both states route memory requests alike.
    func routes(like other: Outputs) -> Bool {
      isReachable == other.isReachable && isForwarding == other.isForwarding
        && isBusMaster == other.isBusMaster && memory32 == other.memory32 && memory64 == other.memory64
    }
  }

  private var outputs: Outputs {
    Outputs(
      secondaryBus: secondaryBus, subordinateBus: subordinateBus, isReachable: isReachable,
      isForwarding: isForwarding, isBusMaster: command.contains(.busMaster), memory32: memory32,
      memory64: memory64, isResetting: isResetting, isPowered: isPowered, isINTxAsserted: isINTxAsserted)
  }

  /// Handles a guest's write. It changes the registers and returns the effects. A write beyond the end is
  /// dropped.
  ///
  /// - Parameters:
  ///   - offset: The offset of the first byte in configuration space.
  ///   - width: The number of bytes: 1, 2 or 4.
  ///   - value: The value.
  public mutating func write(offset: Int, width: Int, _ value: UInt32) -> Effects {
    var effects = Effects()
    guard offset >= 0, offset + width <= values.count else { return effects }
    let before = outputs
    change(offset: offset, width: width, value)
    let isEjected = settle(isPowered: before.isPowered, isResetting: before.isResetting)
    let after = outputs
    if before.secondaryBus != after.secondaryBus || before.subordinateBus != after.subordinateBus {
      effects.append(.buses)
    }
    if before.isResetting != after.isResetting { effects.append(.reset(after.isResetting)) }
    if before.isPowered != after.isPowered { effects.append(.power(after.isPowered)) }
    if isEjected { effects.append(.eject) }
    if !before.routes(like: after) { effects.append(.forwarding) }
    if before.isINTxAsserted != after.isINTxAsserted || isMessageOwed { effects.append(.interrupt) }
    return effects
  }

  /// Writes the writable bits and clears the bits that are written as 1.
  private mutating func change(offset: Int, width: Int, _ value: UInt32) {
    let powerState = values[PortOffset.powerControl] & 3
    for index in 0..<width {
      let byte = UInt8(truncatingIfNeeded: value >> UInt32(index * 8))
      let mask = writable[offset + index]
      values[offset + index] = values[offset + index] & ~mask | byte & mask
      values[offset + index] &= ~(byte & clearable[offset + index])
    }
    // A write of the unsupported states D1 and D2 is ignored (PCI PM 1.2 §3.2.4).
    if (1...2).contains(values[PortOffset.powerControl] & 3) {
      values[PortOffset.powerControl] = values[PortOffset.powerControl] & ~3 | powerState
    }
  }

  /// Updates the link, the containment and the interrupt after a write. Returns true if the guest ejected the
  /// function.
  private mutating func settle(isPowered wasPowered: Bool, isResetting wasResetting: Bool) -> Bool {
    if wasResetting, !isResetting { isContained = false }
    let isEjected = wasPowered != isPowered && switchPower()
    updateLink()
    updateInterrupt()
    return isEjected
  }
}
