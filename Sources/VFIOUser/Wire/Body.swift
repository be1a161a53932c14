// SPDX-License-Identifier: Apache-2.0

/// The body of a message. Parsing is total: any bytes give a value or a ``MessageError``.
public protocol Body: Equatable, Sendable {
  /// Parses all bytes of a body. A surplus byte is an error, except in
  /// ``RegionInfoRequest``.
  init(parsing bytes: ArraySlice<UInt8>) throws(MessageError)

  /// The bytes on the wire.
  var encoded: [UInt8] { get }
}
