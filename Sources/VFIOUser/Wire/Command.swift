// SPDX-License-Identifier: Apache-2.0

/// A command of vfio-user. The raw values are the protocol's (QEMU docs/interop/vfio-user.rst, "Commands").
public enum Command: UInt16, CaseIterable, Sendable, CustomStringConvertible {
  /// Negotiates the version and the capabilities. The first message of a connection.
  case version = 1
  /// Grants the server access to a range of IOVAs.
  case dmaMap = 2
  /// Revokes the access to a range of IOVAs.
  case dmaUnmap = 3
  /// Returns the number of regions and of kinds of interrupts.
  case deviceInfo = 4
  /// Returns the size and the mappable areas of a region.
  case regionInfo = 5
  /// Returns the number of vectors of a kind of interrupt.
  case irqInfo = 7
  /// Sets the eventfds of interrupts, and masks, unmasks or signals them.
  case setIRQs = 8
  /// Reads bytes of a region.
  case regionRead = 9
  /// Writes bytes of a region.
  case regionWrite = 10
  /// The server reads memory of the client.
  case dmaRead = 11
  /// The server writes memory of the client.
  case dmaWrite = 12
  /// Resets the device.
  case deviceReset = 13

  /// The name without the prefix `VFIO_USER_`.
  public var description: String {
    switch self {
    case .version: "VERSION"
    case .dmaMap: "DMA_MAP"
    case .dmaUnmap: "DMA_UNMAP"
    case .deviceInfo: "DEVICE_GET_INFO"
    case .regionInfo: "DEVICE_GET_REGION_INFO"
    case .irqInfo: "DEVICE_GET_IRQ_INFO"
    case .setIRQs: "DEVICE_SET_IRQS"
    case .regionRead: "REGION_READ"
    case .regionWrite: "REGION_WRITE"
    case .dmaRead: "DMA_READ"
    case .dmaWrite: "DMA_WRITE"
    case .deviceReset: "DEVICE_RESET"
    }
  }

  /// True if the server sends the command, false if the client does.
  public var isServers: Bool { self == .dmaRead || self == .dmaWrite }

  /// Returns the name of a command, or its number if it is unknown.
  static func name(_ number: UInt16) -> String {
    Command(rawValue: number)?.description ?? "command \(number)"
  }
}
