// SPDX-License-Identifier: Apache-2.0

/// The body of DEVICE_SET_IRQS: 20 bytes and data (struct vfio_irq_set). Eventfds are descriptors of the message.
public struct IRQSet: Body {
  static let size = 20
  /// The maximum number of vectors of a kind: MSI-X has 2,048 (PCIe 6.0 §7.7.2.2).
  public static let mostVectors: UInt32 = 2048

  /// The effect of a message.
  public enum Action: UInt32, CaseIterable, Sendable {
    /// VFIO_IRQ_SET_ACTION_MASK.
    case mask = 0x8
    /// VFIO_IRQ_SET_ACTION_UNMASK.
    case unmask = 0x10
    /// VFIO_IRQ_SET_ACTION_TRIGGER.
    case trigger = 0x20
  }

  /// The data of a message.
  public enum Data: Equatable, Sendable {
    /// VFIO_IRQ_SET_DATA_NONE. The action applies to all vectors of the range.
    case none
    /// VFIO_IRQ_SET_DATA_BOOL, one per vector. The action applies to the vectors with true.
    case bools([Bool])
    /// VFIO_IRQ_SET_DATA_EVENTFD. One descriptor per vector, or no descriptor to remove the eventfds.
    case eventfds
  }

  private static let none: UInt32 = 1
  private static let bools: UInt32 = 2
  private static let eventfds: UInt32 = 4
  private static let dataMask: UInt32 = 7

  /// The effect.
  public var action: Action
  /// The data.
  public var data: Data
  /// VFIO_PCI_*_IRQ_INDEX.
  public var index: UInt32
  /// The first vector.
  public var start: UInt32
  /// The number of vectors. 0 disables the kind of interrupt.
  public var count: UInt32

  /// Creates a request.
  public init(action: Action, data: Data, index: UInt32, start: UInt32, count: UInt32) {
    (self.action, self.data, self.index) = (action, data, index)
    (self.start, self.count) = (start, count)
  }

  /// Parses a body. A count of 0 is permitted only for a trigger without data.
  public init(parsing bytes: ArraySlice<UInt8>) throws(MessageError) {
    let name = Command.setIRQs.description
    var reader = FieldReader(bytes, name)
    try reader.takeArgumentSize(atLeast: Self.size, name)
    let flags: UInt32 = try reader.take()
    index = try reader.take()
    start = try reader.take()
    count = try reader.take()
    guard let action = Action(rawValue: flags & ~Self.dataMask) else {
      throw MessageError(name, .value("flags", UInt64(flags)))
    }
    guard start <= Self.mostVectors, count <= Self.mostVectors - start else {
      throw MessageError(name, .range(start: UInt64(start), size: UInt64(count)))
    }
    let hasBools = flags & Self.dataMask == Self.bools
    try bytes.requireSize(Self.size + (hasBools ? Int(count) : 0), name)
    switch flags & Self.dataMask {
    case Self.none: data = .none
    case Self.bools: data = .bools(reader.remainder.map { $0 != 0 })
    case Self.eventfds: data = .eventfds
    default: throw MessageError(name, .value("flags", UInt64(flags)))
    }
    guard count > 0 || action == .trigger && data == .none else {
      throw MessageError(name, .value("count", 0))
    }
    self.action = action
  }

  /// The bytes on the wire.
  public var encoded: [UInt8] {
    var flags = action.rawValue
    var values: [UInt8] = []
    switch data {
    case .none: flags |= Self.none
    case .eventfds: flags |= Self.eventfds
    case .bools(let bools):
      flags |= Self.bools
      values = bools.map { $0 ? 1 : 0 }
    }
    var bytes: [UInt8] = []
    for field in [UInt32(Self.size + values.count), flags, index, start, count] { bytes.append(field: field) }
    return bytes + values
  }
}
