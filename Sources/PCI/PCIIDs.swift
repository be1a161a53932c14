// SPDX-License-Identifier: Apache-2.0

/// The names of vendors and devices in the format of the file pci.ids (pci-ids.ucw.cz). Each vendor has one
/// line. The lines after it name its devices (one tab) and subsystems (two tabs).
public enum PCIIDs {
  /// Finds the names of vendors and devices.
  ///
  /// - Parameters:
  ///   - wanted: The pairs of vendor ID and device ID.
  ///   - text: The content of the file, as UTF-8.
  /// - Returns: For each pair, the names of the vendor and of the device. A pair whose vendor is not in the
  ///   file is absent. A pair whose device is not in the file has only the vendor's name.
  public static func names(of wanted: [(vendor: UInt16, device: UInt16)], in text: [UInt8]) -> [UInt32:
    String]
  {
    var names: [UInt32: String] = [:]
    var vendor: UInt16?
    for line in text.split(separator: UInt8(ascii: "\n")) {
      if line.first == UInt8(ascii: "\t") {
        guard let current = vendor, let (device, name) = entry(line.dropFirst()),
          wanted.contains(where: { $0 == (current, device) }),
          let before = names[key(current, device)]
        else { continue }
        names[key(current, device)] = "\(before) \(name)"
      } else if let (number, name) = entry(line[...]) {
        // Vendors are in ascending order. The device classes after them begin with a letter, not with a
        // number.
        vendor = number
        for pair in wanted where pair.vendor == number { names[key(number, pair.device)] = name }
      } else {
        vendor = nil
      }
    }
    return names
  }

  /// Returns the key of a pair in the result of ``names(of:in:)``.
  public static func key(_ vendor: UInt16, _ device: UInt16) -> UInt32 {
    UInt32(vendor) << 16 | UInt32(device)
  }

  /// Parses four hexadecimal digits, two spaces and a name. Returns nil for any other line.
  private static func entry(_ line: ArraySlice<UInt8>) -> (UInt16, String)? {
    guard line.count > 6, line.dropFirst(4).prefix(2).allSatisfy({ $0 == UInt8(ascii: " ") }),
      line.prefix(4).allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let number = UInt16(String(decoding: line.prefix(4), as: UTF8.self), radix: 16)
    else { return nil }
    return (number, String(decoding: line.dropFirst(6), as: UTF8.self))
  }
}
