// SPDX-License-Identifier: Apache-2.0

internal import PCI
internal import Trace

/// The facts about a device that another process has opened: one line of the descriptor `devices`.
///
/// The opener is trusted for its descriptors, not for its text.
struct PassedDevice: Equatable, Sendable {
  var address: Address
  var group: String
  /// The reset methods of the kernel, best first.
  var resetMethods: [String] = []
  /// The name of the cdev, or nil.
  var cdev: String?
  /// The name of the IOMMU, or nil.
  var iommu: String?
  var isExpress = true
  /// The IOVAs that the group cannot use.
  var reserved: [ClosedRange<UInt64>] = []

  /// The maximum size of the text, in bytes.
  static let maxSize: UInt64 = 64 << 10
  /// The maximum size of a line, in bytes.
  static let maxLine = 4096
  private static let maxRanges = 64

  private enum Key: String, CaseIterable {
    case address, group, reset, cdev, iommu, express, reserved
  }

  /// The facts as a line of JSON, without the newline.
  var line: String {
    let ranges = reserved.map {
      "0x\(String($0.lowerBound, radix: 16))-0x\(String($0.upperBound, radix: 16))"
    }
    var fields: [(Key, String)] = [
      (.address, JSON.quote(address.description)), (.group, JSON.quote(group)),
      (.reset, JSON.quote(resetMethods.joined(separator: " "))), (.express, isExpress ? "1" : "0"),
      (.reserved, JSON.quote(ranges.joined(separator: " "))),
    ]
    if let cdev { fields.append((.cdev, JSON.quote(cdev))) }
    if let iommu { fields.append((.iommu, JSON.quote(iommu))) }
    return "{" + fields.map { "\"\($0.rawValue)\":\($1)" }.joined(separator: ",") + "}"
  }
}

extension PassedDevice {
  /// Parses a text.
  static func all(in text: [UInt8]) throws(DescriptorProblem) -> [PassedDevice] {
    var devices: [PassedDevice] = []
    for (index, bytes) in text.split(separator: UInt8(ascii: "\n")).enumerated() {
      let number = index + 1
      let device: PassedDevice
      do throws(Invalid) { device = try PassedDevice(line: bytes) } catch {
        throw .facts(line: number, cause: error.cause)
      }
      if devices.contains(where: { $0.address == device.address }) {
        throw .facts(line: number, cause: "\(device.address) is named twice")
      }
      devices.append(device)
    }
    return devices
  }

  /// The cause why a line is invalid. It repeats no text of the line.
  private struct Invalid: Error {
    let cause: String
    init(_ cause: String) { self.cause = cause }
  }

  private init(line: ArraySlice<UInt8>) throws(Invalid) {
    guard line.count <= Self.maxLine else { throw Invalid("longer than \(Self.maxLine) bytes") }
    guard line.allSatisfy({ (0x20..<0x7F).contains($0) }) else {
      throw Invalid("a character outside printable ASCII")
    }
    let json = String(decoding: line, as: UTF8.self)
    guard let object = FlatObject(json[...]) else {
      throw Invalid("not a JSON object of strings and numbers")
    }
    let known = Set(Key.allCases.map(\.rawValue))
    guard known.isSuperset(of: object.strings.keys), known.isSuperset(of: object.numbers.keys) else {
      throw Invalid("an unknown field")
    }
    func text(_ key: Key) -> String? { object.strings[key.rawValue] }
    guard let name = text(.address), let address = Address(name), address.description == name else {
      throw Invalid("'address' is not a PCI address such as 0000:01:00.0")
    }
    guard let group = text(.group), DescriptorName.isGroup(group) else {
      throw Invalid("'group' is not the number of an IOMMU group")
    }
    (self.address, self.group) = (address, group)
    resetMethods = try Self.words(text(.reset) ?? "", "reset", limit: 16)
    cdev = try text(.cdev).map { value throws(Invalid) in
      guard value.hasPrefix("vfio"), DescriptorName.isGroup(value.dropFirst(4)) else {
        throw Invalid("'cdev' is not a name such as vfio0")
      }
      return value
    }
    iommu = try text(.iommu).map { value throws(Invalid) in
      guard try Self.words(value, "iommu", limit: 1).count == 1 else {
        throw Invalid("'iommu' is not a name")
      }
      return value
    }
    switch object.numbers[Key.express.rawValue] {
    case nil, "1": isExpress = true
    case "0": isExpress = false
    default: throw Invalid("'express' is neither 0 nor 1")
    }
    reserved = try Self.ranges(text(.reserved) ?? "")
  }

  /// Returns the words of a text, each of at most 32 letters, digits, hyphens, points and underscores.
  private static func words(_ text: String, _ key: String, limit: Int) throws(Invalid) -> [String] {
    let words = text.split(separator: " ").map(String.init)
    let isValid = words.allSatisfy { word in
      word.utf8.count <= 32
        && word.utf8.allSatisfy { byte in
          (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20)
            || [0x2D, 0x2E, 0x5F].contains(byte)
        }
    }
    guard isValid, words.count <= limit else { throw Invalid("'\(key)' is not a list of names") }
    return words
  }

  private static func ranges(_ text: String) throws(Invalid) -> [ClosedRange<UInt64>] {
    let words = text.split(separator: " ")
    guard words.count <= maxRanges else { throw Invalid("'reserved' has more than \(maxRanges) ranges") }
    var ranges: [ClosedRange<UInt64>] = []
    for word in words {
      let ends = word.split(separator: "-", omittingEmptySubsequences: false)
      guard ends.count == 2, ends.allSatisfy({ $0.hasPrefix("0x") }),
        let first = UInt64(ends[0].dropFirst(2), radix: 16),
        let last = UInt64(ends[1].dropFirst(2), radix: 16),
        first <= last
      else { throw Invalid("'reserved' is not a list of ranges such as 0xfee00000-0xfeefffff") }
      ranges.append(first...last)
    }
    return ranges
  }
}
