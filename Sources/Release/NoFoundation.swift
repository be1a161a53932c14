// SPDX-License-Identifier: Apache-2.0

// An empty replacement for the parts of FoundationEssentials that swift-argument-parser uses: an encoder for
// the hidden option --experimental-dump-help, which then prints nothing, and a protocol to which no error of
// Sluice conforms. `Sources/Release/build` links this module instead of FoundationEssentials. The code of
// FoundationEssentials would be a third of the program. The linker cannot drop any of it, because tables at
// run time determine which code is reached.

/// An error with its own text. Sluice has none.
public protocol LocalizedError: Error {
  /// The error's text.
  var errorDescription: String? { get }
}

/// Empty data.
public struct Data {}

/// An encoder that encodes nothing.
public final class JSONEncoder {
  /// The format of the output.
  public struct OutputFormatting {
    /// One value per line.
    public static let prettyPrinted = OutputFormatting()
    /// Keys in sorted order.
    public static let sortedKeys = OutputFormatting()

    /// Does nothing.
    public mutating func insert(_ other: OutputFormatting) {}
  }

  /// The format of the output.
  public var outputFormatting = OutputFormatting()

  /// Creates an encoder.
  public init() {}

  /// Returns empty data.
  public func encode(_ value: some Encodable) throws -> Data { Data() }
}

extension String {
  /// A text encoding.
  public struct Encoding {
    /// UTF-8.
    public static let utf8 = Encoding()
  }

  /// Returns nil.
  public init?(data: Data, encoding: Encoding) { return nil }
}

/// Returns no name for a Unicode scalar. Sluice never needs one. The linker (`--wrap`) replaces the standard
/// library's function by this one, because that function's tables take half a megabyte.
@_cdecl("__wrap__swift_stdlib_getScalarName")
public func scalarName(_ scalar: UInt32, _ buffer: UnsafeMutablePointer<UInt8>?, _ capacity: Int) -> Int { 0 }
