// SPDX-License-Identifier: Apache-2.0

extension RootPort {
  /// The speed and width of a link.
  public struct Link: Equatable, Sendable {
    /// The speed as in Link Status bits 3:0: 1 is 2.5 GT/s, 5 is 32 GT/s.
    public var speed: UInt8
    /// The number of lanes as in Link Status bits 9:4.
    public var width: UInt8

    /// Creates a link from its encodings (PCIe 6.0 §7.5.3.8).
    public init(speed: UInt8, width: UInt8) {
      self.speed = speed
      self.width = width
    }

    /// Returns the larger speed and the larger width of two links.
    func raised(to other: Link?) -> Link {
      guard let other else { return self }
      return Link(speed: max(speed, other.speed), width: max(width, other.width))
    }

    /// Returns the smaller speed and the smaller width of two links.
    func limited(to other: Link) -> Link {
      Link(speed: min(speed, other.speed), width: min(width, other.width))
    }
  }

  /// The position, bus numbers and windows of a port before the guest starts.
  public struct Layout: Equatable, Sendable {
    /// The physical slot number, 0 to 8191. It must be unique in the machine.
    public var slot: UInt16
    /// The number of the bus behind the port.
    public var secondaryBus: UInt8
    /// The highest bus number behind the port.
    public var subordinateBus: UInt8
    /// The GPAs of the non-prefetchable window in units of 1 MiB below 4 GiB. It may be empty.
    public var memory32: Range<UInt64>
    /// The GPAs of the prefetchable window in units of 1 MiB. It may be empty.
    public var memory64: Range<UInt64>
    /// The Interrupt Line register.
    public var interruptLine: UInt8
    /// The fastest and widest link that the port reports. Link Capabilities must not change at run time, so a
    /// later insertion is limited to it. A link at the start raises it.
    public var maximumLink: Link

    /// Creates a layout.
    public init(
      slot: UInt16, secondaryBus: UInt8, subordinateBus: UInt8, memory32: Range<UInt64>,
      memory64: Range<UInt64>, interruptLine: UInt8, maximumLink: Link = Link(speed: 5, width: 16)
    ) {
      self.slot = slot
      self.secondaryBus = secondaryBus
      self.subordinateBus = subordinateBus
      self.memory32 = memory32
      self.memory64 = memory64
      self.interruptLine = interruptLine
      self.maximumLink = maximumLink
    }
  }

  /// The severity of an error (PCIe 6.0 §6.2.2).
  public enum ErrorSeverity: Equatable, Sendable {
    /// Hardware corrected the error (ERR_COR).
    case correctable
    /// A transaction failed, and the link is reliable (ERR_NONFATAL).
    case nonFatal
    /// The link is unreliable (ERR_FATAL).
    case fatal
  }
}
