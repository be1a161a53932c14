// SPDX-License-Identifier: Apache-2.0

/// The header of a message: 16 bytes, little-endian (QEMU docs/interop/vfio-user.rst, "Header").
public struct Header: Equatable, Sendable {
  /// Bytes.
  public static let size = 16

  /// The type of a message.
  public enum Kind: UInt32, Sendable {
    /// A command.
    case command = 0
    /// The reply to a command.
    case reply = 1
  }

  /// The number that the sender of the command has chosen. The reply repeats it.
  public var id: UInt16
  /// The number of the command, known or not.
  public var command: UInt16
  /// The size of the message with the header, in bytes.
  public var size: UInt32
  /// The type.
  public var kind: Kind
  /// True if the sender of a command expects no reply.
  public var wantsNoReply: Bool
  /// True if a reply reports an error.
  public var isError: Bool
  /// The error number of the reply (errno.h), or 0.
  public var errno: UInt32

  private static let typeMask: UInt32 = 0xF
  static let noReply: UInt32 = 0x10
  private static let error: UInt32 = 0x20

  /// Creates a header for a body of `bodySize` bytes.
  public init(
    id: UInt16, command: UInt16, kind: Kind, bodySize: Int, wantsNoReply: Bool = false, isError: Bool = false,
    errno: UInt32 = 0
  ) {
    (self.id, self.command, self.kind) = (id, command, kind)
    size = UInt32(clamping: Self.size + bodySize)
    (self.wantsNoReply, self.isError, self.errno) = (wantsNoReply, isError, errno)
  }

  /// Parses a header. The reserved bits of the flags are ignored.
  ///
  /// - Parameters:
  ///   - bytes: 16 bytes.
  ///   - limit: The maximum size of a message with the header, in bytes.
  public init(parsing bytes: ArraySlice<UInt8>, limit: Int) throws(MessageError) {
    try bytes.requireSize(Self.size, "header")
    var reader = FieldReader(bytes, "header")
    id = try reader.take()
    command = try reader.take()
    size = try reader.take()
    let flags: UInt32 = try reader.take()
    errno = try reader.take()
    guard let kind = Kind(rawValue: flags & Self.typeMask) else {
      throw MessageError("header", .value("type", UInt64(flags & Self.typeMask)))
    }
    self.kind = kind
    wantsNoReply = flags & Self.noReply != 0
    isError = flags & Self.error != 0
    guard Int(size) >= Self.size, Int(size) <= limit else {
      throw MessageError(
        Command.name(command), .size(Int(size), expected: Self.size...max(limit, Self.size)))
    }
  }

  /// The 16 bytes.
  public var encoded: [UInt8] { message([]) }

  /// Returns the 16 bytes and the body, in one allocation.
  func message(_ body: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.size + body.count)
    bytes.append(field: id)
    bytes.append(field: command)
    bytes.append(field: size)
    bytes.append(field: kind.rawValue | (wantsNoReply ? Self.noReply : 0) | (isError ? Self.error : 0))
    bytes.append(field: errno)
    bytes += body
    return bytes
  }

  /// The size of the body, in bytes.
  public var bodySize: Int { Int(size) - Self.size }
}
