// SPDX-License-Identifier: Apache-2.0

/// Names of vendors and devices in the format of the file pci.ids (pci-ids.ucw.cz): a line for each vendor, behind it
/// lines with one tab for its devices and with two tabs for subsystems.
public enum PCIIDs {
  /// Finds names.
  ///
  /// - Parameters:
  ///   - wanted: Pairs of vendor and device ID.
  ///   - text: The file, as UTF-8.
  /// - Returns: For each pair, the names of the vendor and of the device. A pair whose vendor is not in the file is absent;
  ///   one whose device is not has the vendor's name alone.
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
        // Vendors rise; what follows them (classes) begins with a letter and is no number.
        vendor = number
        for pair in wanted where pair.vendor == number { names[key(number, pair.device)] = name }
      } else {
        vendor = nil
      }
    }
    return names
  }

  /// The key of a pair in the result.
  public static func key(_ vendor: UInt16, _ device: UInt16) -> UInt32 {
    UInt32(vendor) << 16 | UInt32(device)
  }

  /// Four hexadecimal digits, two blanks and a name; nil for any other line.
  private static func entry(_ line: ArraySlice<UInt8>) -> (UInt16, String)? {
    guard line.count > 6, line.dropFirst(4).prefix(2).allSatisfy({ $0 == UInt8(ascii: " ") }),
      line.prefix(4).allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let number = UInt16(String(decoding: line.prefix(4), as: UTF8.self), radix: 16)
    else { return nil }
    return (number, String(decoding: line.dropFirst(6), as: UTF8.self))
  }
}
