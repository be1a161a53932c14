// SPDX-License-Identifier: Apache-2.0

// What swift-argument-parser takes from FoundationEssentials, with nothing behind it: an encoder for the hidden
// option --experimental-dump-help, which prints nothing then, and a protocol that no error of Sluice conforms
// to. `Sources/Release/build` puts this module in the place of that one, whose code would be a third of the program: the
// linker has to keep all of it, since what is reached is decided by tables at run time.

/// Errors with a text of their own; there are none.
public protocol LocalizedError: Error {
  /// The text.
  var errorDescription: String? { get }
}

/// No bytes.
public struct Data {}

/// Encodes nothing.
public final class JSONEncoder {
  /// How it would be written.
  public struct OutputFormatting {
    /// In lines.
    public static let prettyPrinted = OutputFormatting()
    /// In order.
    public static let sortedKeys = OutputFormatting()

    /// Adds to it.
    public mutating func insert(_ other: OutputFormatting) {}
  }

  /// How it would be written.
  public var outputFormatting = OutputFormatting()

  /// Makes one.
  public init() {}

  /// Encodes nothing.
  public func encode(_ value: some Encodable) throws -> Data { Data() }
}

extension String {
  /// How bytes are a text.
  public struct Encoding {
    /// UTF-8.
    public static let utf8 = Encoding()
  }

  /// No text.
  public init?(data: Data, encoding: Encoding) { return nil }
}

/// The name of a Unicode scalar, which nothing in Sluice asks for: none. The linker puts it in the place of the standard
/// library's function (`--wrap`), whose tables are half a megabyte.
@_cdecl("__wrap__swift_stdlib_getScalarName")
public func scalarName(_ scalar: UInt32, _ buffer: UnsafeMutablePointer<UInt8>?, _ capacity: Int) -> Int { 0 }
