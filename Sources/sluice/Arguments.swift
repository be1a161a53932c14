// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import GuestMemory
import PCI

/// `--memory`: a size and what stands behind it: `512M`, `2G,hugepages=2M`.
struct MemoryArgument: Equatable {
  var bytes: UInt64 = 512 << 20
  var backing = GuestMemory.Backing.memory

  /// Reads the argument; a plain number counts MiB, as QEMU has it.
  init(_ argument: String) throws {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    guard let size = Self.size(parts[0]) else {
      throw ValidationError("'\(parts[0])' is no size; write it as 512M or 4G")
    }
    bytes = size
    for part in parts.dropFirst() {
      switch part {
      case "hugepages=2M": backing = .hugePages(shift: 21)
      case "hugepages=1G": backing = .hugePages(shift: 30)
      case "hugepages=off": backing = .memory
      default: throw ValidationError("'\(part)' is not an option; there is hugepages=2M, 1G or off")
      }
    }
  }

  /// The default.
  init() {}

  private static func size(_ text: Substring) -> UInt64? {
    var digits = text
    var shift: UInt64 = 20
    if let unit = text.last, !unit.isNumber {
      switch unit {
      case "k", "K": shift = 10
      case "m", "M": shift = 20
      case "g", "G": shift = 30
      case "t", "T": shift = 40
      default: return nil
      }
      digits = digits.dropLast()
    }
    guard digits.allSatisfy(\.isNumber), let number = UInt64(digits), number <= UInt64.max >> shift
    else { return nil }
    return number << shift
  }
}

/// A host device as an argument: its address, and options after commas.
struct DeviceArgument: Equatable {
  let address: Address

  /// Reads the argument.
  init(_ argument: String) throws {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    guard let address = Address(String(parts[0])) else {
      throw ValidationError(
        "'\(parts[0])' is no PCI address; write it as 0000:01:00.0 ('sluice devices' lists them)")
    }
    if parts.count > 1 { throw ValidationError("'\(parts[1])' is not an option of a device") }
    self.address = address
  }
}
